"""Modbus over TCP, over serial lines (RTU), and RTU frames over TCP."""
