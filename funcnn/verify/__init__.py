"""The verifier: proves hand-written derivatives, ours and yours.

`check_vjp` judges one function, `compare` a whole model, `check_ops` the library itself;
`autodiff` is the way out of custom rules.
"""

from funcnn.verify._autodiff import autodiff as autodiff
from funcnn.verify._check import check_ops as check_ops
from funcnn.verify._check import check_vjp as check_vjp
from funcnn.verify._check import compare as compare
from funcnn.verify._check import judge as judge
from funcnn.verify._claims import CLAIMS as CLAIMS
from funcnn.verify._report import Report as Report
from funcnn.verify._report import Row as Row
from funcnn.verify._subject import Op as Op
from funcnn.verify._subject import discover as discover
