"""The executor: the client's own programs of circuits and samplexes."""
