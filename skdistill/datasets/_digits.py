"""scikit-learn's digits, as images."""

from sklearn import datasets

from ._arguments import Answer, answer, check_arguments


def load_digits(*, return_X_y: bool = False) -> Answer:
    """Load scikit-learn's handwritten digits as images.

    1,797 gray images of 8 x 8 pixels in 10 classes, with about 180 images per class.

    Parameters
    ----------
    return_X_y : bool, default=False
        Whether to return ``(data, target)`` instead of a Bunch.

    Returns
    -------
    data : Bunch
        ``data``, ndarray of shape (1797, 8, 8) with values from 0 (empty) to 16, float64 as in
        scikit-learn; ``target``, ndarray of shape (1797,), the digits; ``target_names``; and
        ``DESCR``, a description.
    (data, target) : tuple of ndarray
        With ``return_X_y=True``.

    Examples
    --------
    >>> from skdistill.datasets import load_digits
    >>> X, y = load_digits(return_X_y=True)
    >>> X.shape, y.shape
    ((1797, 8, 8), (1797,))
    """
    check_arguments("load_digits", return_X_y=return_X_y)
    digits = datasets.load_digits()
    return answer(
        return_X_y,
        data=digits.images,
        target=digits.target,
        target_names=digits.target_names,
        DESCR=digits.DESCR,
    )
