"""The verifier: proves hand-written derivatives, ours and yours.

`check_vjp` judges one function, `assert_vjp` does so in a test, `compare` judges a whole
model, `check_ops` the library itself. `autodiff` is the way out of custom rules,
`residuals` tells what a pullback holds, `matrix` which transformations ops go through.
"""

from funcnn.verify._assert import assert_vjp as assert_vjp
from funcnn.verify._autodiff import autodiff as autodiff
from funcnn.verify._check import check_vjp as check_vjp
from funcnn.verify._check import judge as judge
from funcnn.verify._claims import CLAIMS as CLAIMS
from funcnn.verify._compare import compare as compare
from funcnn.verify._costs import costs as costs
from funcnn.verify._matrix import matrix as matrix
from funcnn.verify._ops import check_ops as check_ops
from funcnn.verify._report import Report as Report
from funcnn.verify._report import Row as Row
from funcnn.verify._residuals import residuals as residuals
from funcnn.verify._spec import arguments as arguments
from funcnn.verify._subject import Op as Op
from funcnn.verify._subject import discover as discover
