"""What comes and goes over the wire: read without trust, written for the client or plain."""
