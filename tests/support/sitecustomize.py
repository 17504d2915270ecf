"""For child processes of the tests: see `torchvision_shim`. Python imports this by its name at every start."""

import torchvision_shim

torchvision_shim.install()
