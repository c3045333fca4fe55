"""`python -m gateway` is the `outrider` command."""

import sys

from gateway.cli import main

sys.exit(main())
