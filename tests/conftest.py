"""What all tests need of the process they run in."""

import signal

# A shell hands an ignored SIGINT down to what it runs in the background, and Ctrl-C would end no program of a test.
signal.signal(signal.SIGINT, signal.default_int_handler)
