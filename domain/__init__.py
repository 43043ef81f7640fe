"""The rules of the money: values, commands, events and the transaction state machine. No I/O, no clock, no threads."""
