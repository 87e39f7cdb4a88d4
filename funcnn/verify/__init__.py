"""The verifier: checks hand-written derivatives, ours and yours.

`check_vjp` judges one function, `assert_vjp` does so in a test, `compare` judges a whole
model, `check_ops` the library itself. `autodiff` is the way out of custom rules,
`residuals` tells what a pullback holds, `matrix` which transformations ops go through.
"""

from funcnn.verify.check._assert import assert_vjp as assert_vjp
from funcnn.verify.check._check import check_vjp as check_vjp
from funcnn.verify.check._check import judge as judge
from funcnn.verify.check._compare import compare as compare
from funcnn.verify.check._ops import check_ops as check_ops
from funcnn.verify.claims._claims import CLAIMS as CLAIMS
from funcnn.verify.functions._autodiff import autodiff as autodiff
from funcnn.verify.functions._op import Op as Op
from funcnn.verify.functions._op import discover as discover
from funcnn.verify.functions._spec import arguments as arguments
from funcnn.verify.measures._costs import costs as costs
from funcnn.verify.measures._residuals import residuals as residuals
from funcnn.verify.report._report import Report as Report
from funcnn.verify.report._report import Row as Row
from funcnn.verify.transformations._matrix import matrix as matrix
