"""The fault suite: real services and workers are broken under a stream of saves (`make faults`)."""
