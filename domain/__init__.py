"""Rules about money: values, commands, events and the state machine. No I/O, no clock, no threads."""
