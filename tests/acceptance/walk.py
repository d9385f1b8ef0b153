"""All walks, in one process of one client: what users of the modes do."""

import walk_finding  # noqa: F401  its steps, in this order
import walk_jobs  # noqa: F401
import walk_mistakes  # noqa: F401
import walk_modes  # noqa: F401
import walk_programs  # noqa: F401
from steps import run_all

run_all()
