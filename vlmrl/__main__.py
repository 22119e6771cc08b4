"""``python -m vlmrl`` is the ``vlmrl`` command."""

import sys

from vlmrl.cli.main import main

sys.exit(main())
