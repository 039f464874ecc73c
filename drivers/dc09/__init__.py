"""SIA DC-09: alarm panels that dial in by TCP. `frame` is the codec, `receiver` the listening connection."""

from drivers.dc09.frame import Frame, build_frame, data_of, event_of, parse_frame, reply_to
from drivers.dc09.receiver import DC09

__all__ = ["DC09", "Frame", "build_frame", "data_of", "event_of", "parse_frame", "reply_to"]
