"""The noise learners, and the learning that mitigation shares with them."""
