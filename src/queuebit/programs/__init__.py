"""What a job computes: the programs of POST /jobs, in the stages prepare, quantum and finish.

`program` is the way in. `codec` and `qpy` guard it: what users send is data, never code.
Everything here runs in workers only.
"""
