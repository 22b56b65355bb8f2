"""Side by side with the peers: `make bench`, or `python -m benchmarks --help`.

All servers run at the same time, idle but for the one under load, and take turns in short rounds, so that whatever else
the machine does falls on all of them alike. What counts is the processor time per request of the whole server process
tree, and its ratio to ours within one round; requests per second are reported beside it, but depend on the load
generator as much as on the server.
"""
