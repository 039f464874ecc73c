"""What is wrong with this box: clock, memory, disk, state directory, serial ports, secrets, far ends."""
