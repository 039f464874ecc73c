"""Reading field connections: the scheduler of polled ones, and the judging of what they bring."""
