"""The causes of this course as formulas and pictures.

Here and not in ``course_utils``, which students have, since the right formulas are what they are asked for. A picture
is computed by the deviation from which the cause is recognised, on a problem that students know.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import numpy as np

from autograder.report.explained import MOST_BARS, Explained, Picture
from course_utils import mistakes
from course_utils.checks import descent, schedule
from course_utils.checks.gradient_check import LARGE_STEP, TOY_FUNCTIONS
from course_utils.deviations import Deviation, deviating
from course_utils.reference import problem
from course_utils.steps import STEPS, right_steps

#: Stands for the number of a mistake that has one, such as the slope of a leaky ReLU.
_FACTOR = 0.3

# --- Formulas ---------------------------------------------------------------------------


def _with(right: str, **wrong: str) -> dict[str, tuple[str, str]]:
    """Name -> wrong and right formula."""
    return {name: (text, right) for name, text in wrong.items()}


def _powers(first: int, last: int) -> dict[str, str]:
    """Names of the constants 10^-k, as deviations have them, with their formulas."""
    return {f"{10.0**-k:g}": f"10^{{-{k}}}" for k in range(first, last + 1)}


_SUM = r"\sum_j e^{z_{ij}}"
_GENERAL = _with(
    "v", sign="-v", not_averaged=r"N\,v", averaged_twice=r"\dfrac{1}{N}\,v", doubled=r"2\,v", halved=r"\dfrac{1}{2}\,v",
    squared="v^2", absolute="|v|", one_too_large="v+1", transposed=r"v^{\top}",
    scaled=r"c\,v", zero="0", integers=r"\mathrm{trunc}(v)", limited=r"\min(\max(v,c),d)",
    one_number_added="v+c", left_out=r"[\,i\in S\,]\,v_i",
)  # fmt: skip
_RELU = _with(
    r"\mathrm{relu}(z)=\max(0,z)",
    relu_missing=r"\mathrm{relu}(z)=z", absolute_value=r"\mathrm{relu}(z)=|z|",
    relu_step=r"\mathrm{relu}(z)=[\,z>0\,]", relu_of_the_wrong_sign=r"\mathrm{relu}(z)=\min(0,z)",
    relu_of_the_negative=r"\mathrm{relu}(z)=\max(0,-z)", leaky_relu=r"\mathrm{relu}(z)=\max(0,z)+c\,\min(0,z)",
    relu_scaled=r"\mathrm{relu}(z)=c\,\max(0,z)", relu_cut_off_at_1=r"\mathrm{relu}(z)=\min(\max(0,z),1)",
    relu_cut_off_at_6=r"\mathrm{relu}(z)=\min(\max(0,z),6)", relu_at_least_1=r"\mathrm{relu}(z)=\max(1,z)",
    sigmoid_for_relu=r"\mathrm{relu}(z)=\dfrac{1}{1+e^{-z}}", tanh_for_relu=r"\mathrm{relu}(z)=\tanh z",
    softplus_for_relu=r"\mathrm{relu}(z)=\log(1+e^{z})", silu_for_relu=r"\mathrm{relu}(z)=\dfrac{z}{1+e^{-z}}",
    gelu_for_relu=r"\mathrm{relu}(z)=z\,\Phi(z)", relu_squared=r"\mathrm{relu}(z)=\max(0,z)^2",
    relu_with_a_floor=r"\mathrm{relu}(z)=[\,z>0\,]\,z+[\,z\leq 0\,]\,c",
    **{f"relu_beyond_{limit}": rf"\mathrm{{relu}}(z)=[\,z>{limit}\,]\,z" for limit in ("1", "0.5", "0.1", "0.01")},
    whole_columns=r"\mathrm{relu}(z)=\left[\,\sum_n z_{nj}>0\,\right]z_{ij}",
    whole_rows=r"\mathrm{relu}(z)=\left[\,\sum_k z_{ik}>0\,\right]z_{ij}",
    relu_of_tanh=r"\mathrm{relu}(z)=\max(0,\tanh z)",
    elu_for_relu=r"\mathrm{relu}(z)=\max(0,z)+\min(0,e^{z}-1)",
    largest_of_all=r"\mathrm{relu}(z)=\max_{n,j}z_{nj}", shifted_by_the_smallest=r"\mathrm{relu}(z)=z-\min_{n,j}z_{nj}",
    largest_of_each_column=r"\mathrm{relu}(z)=\max_{n}z_{nj}", largest_of_each_row=r"\mathrm{relu}(z)=\max_{j}z_{nj}",
    largest_of_each_row_spread=r"\mathrm{relu}(z)=\max_{j}\,\max(0,z_{nj})",
)  # fmt: skip
_SOFTMAX = _with(
    rf"p_{{ik}}=\dfrac{{e^{{z_{{ik}}}}}}{{{_SUM}}}",
    softmax_over_columns=r"p_{ik}=\dfrac{e^{z_{ik}}}{\sum_n e^{z_{nk}}}",
    softmax_over_everything=r"p_{ik}=\dfrac{e^{z_{ik}}}{\sum_{n,j} e^{z_{nj}}}",
    softmax_not_normalised=r"p_{ik}=e^{z_{ik}}", softmax_missing=r"p_{ik}=z_{ik}",
    softmax_without_exponential=r"p_{ik}=\dfrac{z_{ik}}{\sum_j z_{ij}}",
    softmax_of_the_wrong_sign=r"p_{ik}=\dfrac{e^{-z_{ik}}}{\sum_j e^{-z_{ij}}}",
    softmax_base_2=r"p_{ik}=\dfrac{2^{z_{ik}}}{\sum_j 2^{z_{ij}}}",
    softmax_base_10=r"p_{ik}=\dfrac{10^{z_{ik}}}{\sum_j 10^{z_{ij}}}",
    softmax_twice=r"p=\mathrm{softmax}(\mathrm{softmax}(z))",
    sigmoid_for_softmax=r"p_{ik}=\dfrac{1}{1+e^{-z_{ik}}}", log_probabilities=rf"p_{{ik}}=z_{{ik}}-\log{_SUM}",
    one_minus_softmax=rf"p_{{ik}}=1-\dfrac{{e^{{z_{{ik}}}}}}{{{_SUM}}}",
    softmax_by_columns_of_shifted_rows=r"p_{ik}=\dfrac{e^{z_{ik}-m_i}}{\sum_n e^{z_{nk}-m_n}},\ m_i=\max_j z_{ij}",
    softmax_over_everything_of_shifted_rows=(
        r"p_{ik}=\dfrac{e^{z_{ik}-m_i}}{\sum_{n,j} e^{z_{nj}-m_n}},\ m_i=\max_j z_{ij}"
    ),
    softmax_with_logarithm_base_10=r"p_{ik}=e^{z_{ik}-m_i-\log_{10}\sum_j e^{z_{ij}-m_i}},\ m_i=\max_j z_{ij}",
    softmax_by_the_first_row=r"p_{ik}=\dfrac{e^{z_{ik}-m_i}}{\sum_j e^{z_{1j}-m_1}},\ m_i=\max_j z_{ij}",
    softmax_of_columns_shifted=r"p_{ik}=\dfrac{e^{z_{ik}-m_k}}{\sum_j e^{z_{ij}-m_j}},\ m_k=\max_n z_{nk}",
    softmax_of_halves=r"p_{ik}=\dfrac{e^{z_{ik}/2}}{\sum_j e^{z_{ij}/2}}",
    softmax_of_twice=r"p_{ik}=\dfrac{e^{2z_{ik}}}{\sum_j e^{2z_{ij}}}",
    softmax_of_squares=r"p_{ik}=\dfrac{e^{z_{ik}^2}}{\sum_j e^{z_{ij}^2}}",
    softmax_of_sizes=r"p_{ik}=\dfrac{e^{|z_{ik}|}}{\sum_j e^{|z_{ij}|}}",
    softmax_divided_by_length=r"p_{ik}=\dfrac{e^{z_{ik}}}{\sqrt{\sum_j e^{2z_{ij}}}}",
    softmax_of_scaled_logits=r"p_{ik}=\dfrac{e^{c_i z_{ik}}}{\sum_j e^{c_i z_{ij}}}",
    softmax_divided_otherwise=r"p_{ik}=\dfrac{e^{z_{ik}}}{c_i\,d_k}",
    shifted_logits_without_exponential=r"p_{ik}=\dfrac{z_{ik}-m_i}{\sum_j(z_{ij}-m_i)},\ m_i=\max_j z_{ij}",
    **{
        f"normalised_{name}": rf"p_{{ik}}=\dfrac{{f(z_{{ik}})}}{{\sum_j f(z_{{ij}})}},\ f(z)={of}"
        for name, of in {
            "sigmoids": r"\dfrac{1}{1+e^{-z}}", "sizes": "|z|", "squares": "z^2", "softplus": r"\log(1+e^z)",
        }.items()
    },
    softmax_uniform=r"p_{ik}=\dfrac{1}{K}", running_sums=r"p_{ik}=\dfrac{e^{z_{ik}}}{\sum_{j\leq k}e^{z_{ij}}}",
    **{
        f"{name}_added_to_each": rf"p_{{ik}}=\dfrac{{e^{{z_{{ik}}-m_i}}+{small}}}{{\sum_j(e^{{z_{{ij}}-m_i}}+{small})}}"
        for name, small in _powers(2, 15).items()
    },
    softmax_divided_by_mean=r"p_{ik}=\dfrac{e^{z_{ik}}}{\dfrac{1}{K}\sum_j e^{z_{ij}}}",
    softmax_as_largest=r"p_{ik}=[\,z_{ik}=\max_j z_{ij}\,]", class_for_softmax=r"p_i=\mathrm{argmax}_j\,z_{ij}",
    **{
        f"softmax_of_{name}": rf"p_{{ik}}=\dfrac{{e^{{z_{{ik}}/m_i}}}}{{\sum_j e^{{z_{{ij}}/m_i}}}},\ m_i={divisor}"
        for name, divisor in {
            "shares": r"\max_j z_{ij}", "shares_of_sizes": r"\max_j|z_{ij}|", "shares_of_all": r"\max_{n,j}z_{nj}",
            "shares_of_all_sizes": r"\max_{n,j}|z_{nj}|", "unit_rows": r"\sqrt{\sum_j z_{ij}^2}",
            "shares_of_sums": r"\sum_j z_{ij}",
        }.items()
    },
    **{
        f"softmax_of_{name}": rf"p=\mathrm{{softmax}}(u),\ u_{{ik}}={scaled}"
        for name, scaled in {
            "ranges": r"\dfrac{z_{ik}-\min_j z_{ij}}{\max_j z_{ij}-\min_j z_{ij}}",
            "standardised_rows": r"\dfrac{z_{ik}-\mathrm{mean}_j\,z_{ij}}{\mathrm{std}_j\,z_{ij}}",
            "standardised_columns": r"\dfrac{z_{ik}-\mathrm{mean}_n\,z_{nk}}{\mathrm{std}_n\,z_{nk}}",
        }.items()
    },
    **{
        f"softmax_with_{name}": rf"p_{{ik}}=\dfrac{{e^{{z_{{ik}}}}}}{{{_SUM}+{small}}}"
        for name, small in _powers(2, 15).items()
    },
)  # fmt: skip
_LAYERS = {
    **_with(
        r"z_2=X\,W_1+b_1", b1_missing=r"z_2=X\,W_1", b1_added_twice=r"z_2=X\,W_1+2\,b_1",
        b1_subtracted=r"z_2=X\,W_1-b_1", relu_in_first=r"z_2=\max(0,X)\,W_1+b_1",
        b1_as_ones=r"z_2=X\,W_1+1", b1_as_its_mean=r"z_2=X\,W_1+\mathrm{mean}(b_1)",
        b1_reversed=r"(z_2)_{ih}=(X\,W_1)_{ih}+(b_1)_{H+1-h}", b1_multiplied=r"(z_2)_{ih}=(X\,W_1)_{ih}\,(b_1)_h",
        ones_in_front=r"(z_2)_{ih}=w_{1h}+\sum_{d=1}^{D}X_{id}\,w_{d+1,h},\ w=(W_1;\,b_1)",
        z2_cast=r"z_2=\mathrm{trunc}(X\,W_1+b_1)", z2_overwritten=r"z_2=\max(0,\,X\,W_1+b_1)",
    ),
    **_with(
        r"z_3=a_2\,W_2+b_2", b2_missing=r"z_3=a_2\,W_2", b2_added_twice=r"z_3=a_2\,W_2+2\,b_2",
        b2_subtracted=r"z_3=a_2\,W_2-b_2", second_layer_takes_z2=r"z_3=z_2\,W_2+b_2",
        relu_on_logits=r"z_3=\max(0,\,a_2\,W_2+b_2)",
        b2_as_ones=r"z_3=a_2\,W_2+1", b2_as_its_mean=r"z_3=a_2\,W_2+\mathrm{mean}(b_2)",
        b2_reversed=r"(z_3)_{ik}=(a_2\,W_2)_{ik}+(b_2)_{K+1-k}", logits_scaled=r"z_3=\dfrac{a_2\,W_2+b_2}{\sqrt{H}}",
        activations_averaged=r"z_3=\dfrac{1}{H}\,a_2\,W_2+b_2", z3_overwritten=r"z_3=\mathrm{softmax}(a_2\,W_2+b_2)",
        z3_shifted=r"(z_3)_{ik}=(a_2\,W_2+b_2)_{ik}-\max_j\,(a_2\,W_2+b_2)_{ij}",
    ),
    **_with(r"a_2=\max(0,z_2)", softmax_of_hidden=r"a_2=\mathrm{softmax}(z_2)"),
}  # fmt: skip
_DATA = _with(
    r"J=-\dfrac{1}{N}\sum_i \log p_{i,y_i}",
    loss_summed=r"J=-\sum_i \log p_{i,y_i}", loss_averaged_twice=r"J=-\dfrac{1}{N^2}\sum_i \log p_{i,y_i}",
    loss_averaged_over_entries=r"J=-\dfrac{1}{N K}\sum_i \log p_{i,y_i}",
    loss_averaged_over_classes=r"J=-\dfrac{1}{K}\sum_i \log p_{i,y_i}",
    loss_sign=r"J=\dfrac{1}{N}\sum_i \log p_{i,y_i}",
    loss_halved=r"J=-\dfrac{1}{2N}\sum_i \log p_{i,y_i}", loss_doubled=r"J=-\dfrac{2}{N}\sum_i \log p_{i,y_i}",
    logarithm_base_2=r"J=-\dfrac{1}{N}\sum_i \log_2 p_{i,y_i}",
    logarithm_base_10=r"J=-\dfrac{1}{N}\sum_i \log_{10} p_{i,y_i}",
    logarithm_missing=r"J=-\dfrac{1}{N}\sum_i p_{i,y_i}", probability_for_loss=r"J=\dfrac{1}{N}\sum_i p_{i,y_i}",
    one_minus_probability=r"J=\dfrac{1}{N}\sum_i (1-p_{i,y_i})",
    mean_before_logarithm=r"J=-\log\,\dfrac{1}{N}\sum_i p_{i,y_i}",
    every_class_counted=r"J=-\dfrac{1}{N}\sum_{i,k} \log p_{ik}",
    every_class_averaged=r"J=-\dfrac{1}{N K}\sum_{i,k} \log p_{ik}",
    all_rows_with_all_labels=r"J=-\dfrac{1}{N^2}\sum_{i,n} \log p_{i,y_n}",
    rows_of_all_labels=r"J=-\dfrac{1}{N}\sum_{i,k}\max_n\,[\,y_n=i-1\,]\,\log p_{ik}",
    counted_rows_of_all_labels=r"J=-\dfrac{1}{N}\sum_{i,k}\left(\sum_n[\,y_n=i-1\,]\right)\log p_{ik}",
    columns_of_all_labels=r"J=-\dfrac{1}{N}\sum_{i,k}\max_n\,\Delta_{nk}\,\log p_{ik}",
    entropy_for_cross_entropy=r"J=-\dfrac{1}{N}\sum_{i,k} p_{ik}\log p_{ik}",
    loss_of_probabilities=r"J=-\dfrac{1}{N}\sum_i \log\,\mathrm{softmax}(p)_{i,y_i}",
    largest_class_taken=r"J=-\dfrac{1}{N}\sum_i \max_k\,\log p_{ik}",
    binary_cross_entropy=r"J=-\dfrac{1}{N}\sum_i\left(\log p_{i,y_i}+\sum_{k\neq y_i}\log(1-p_{ik})\right)",
    true_logit_missing=rf"J=\dfrac{{1}}{{N}}\sum_i \log{_SUM}", log_sum_missing=r"J=-\dfrac{1}{N}\sum_i z_{i,y_i}",
    loss_per_sample=r"J_i=-\log p_{i,y_i}",
    classes_balanced=r"J=\dfrac{\sum_i w_i\,(-\log p_{i,y_i})}{\sum_i w_i},\ w_i=\dfrac{1}{N_{y_i}}",
    true_class_twice=r"J=\dfrac{1}{N}\sum_i\log\left(1+\sum_j e^{z_{ij}-z_{i,y_i}}\right)",
    log_sum_subtracted=r"J=\dfrac{1}{N}\sum_i\left(-z_{i,y_i}-\log\sum_j e^{z_{ij}}\right)",
    loss_of_reversed_labels=r"J=-\dfrac{1}{N}\sum_i \log p_{i,y_{N+1-i}}",
    loss_median=r"J=\mathrm{median}_i\,(-\log p_{i,y_i})",
    loss_largest=r"J=\max_i\,(-\log p_{i,y_i})", logarithm_of_1_plus=r"J=-\dfrac{1}{N}\sum_i \log(1+p_{i,y_i})",
    hinge_loss=r"J=\dfrac{1}{N}\sum_i\sum_{k\neq y_i}\max(0,\,z_{ik}-z_{i,y_i}+1)",
    squared_error=r"J=c\sum_{i,k}(p_{ik}-\Delta_{ik})^2",
    loss_over_columns=r"J=-\dfrac{1}{N}\sum_i\log\dfrac{e^{z_{i,y_i}}}{\sum_n e^{z_{n,y_i}}}",
    loss_over_everything=r"J=-\dfrac{1}{N}\sum_i\log\dfrac{e^{z_{i,y_i}}}{\sum_{n,j} e^{z_{nj}}}",
    loss_over_everything_of_shifted_rows=(
        r"J=-\dfrac{1}{N}\sum_i\log\dfrac{e^{z_{i,y_i}-m_i}}{\sum_{n,j} e^{z_{nj}-m_n}},\ m_i=\max_j z_{ij}"
    ),
    true_logit_added=rf"J=\dfrac{{1}}{{N}}\sum_i\left(\log{_SUM}+z_{{i,y_i}}\right)",
    logarithm_of_the_sum_missing=rf"J=\dfrac{{1}}{{N}}\sum_i\left({_SUM}-z_{{i,y_i}}\right)",
    largest_logit_not_added=(
        r"J=\dfrac{1}{N}\sum_i\left(\log\sum_j e^{z_{ij}-m_i}-z_{i,y_i}\right),\ m_i=\max_j z_{ij}"
    ),
    shifted_true_logit_alone=(
        rf"J=\dfrac{{1}}{{N}}\sum_i\left(\log{_SUM}-(z_{{i,y_i}}-m_i)\right),\ m_i=\max_j z_{{ij}}"
    ),
    loss_of_shifted_labels=r"J=-\dfrac{1}{N}\sum_i \log p_{i,y_i-1}",
    first_sample_only=r"J=-\log p_{1,y_1}", last_sample_only=r"J=-\log p_{N,y_N}",
    first_class_only=r"J=-\dfrac{1}{N}\sum_i \log p_{i,0}", last_class_only=r"J=-\dfrac{1}{N}\sum_i \log p_{i,K-1}",
    labels_smoothed=r"J=-\dfrac{1}{N}\sum_i\left((1-c)\log p_{i,y_i}+\dfrac{c}{K}\sum_k\log p_{ik}\right)",
    data_loss_missing="J=0", loss_averaged_over_one_less=r"J=-\dfrac{1}{N-1}\sum_i \log p_{i,y_i}",
    loss_averaged_over_one_more=r"J=-\dfrac{1}{N+1}\sum_i \log p_{i,y_i}",
    loss_of_fixed_size=r"J=-c\sum_i \log p_{i,y_i}", loss_scaled=r"J=-\dfrac{c}{N}\sum_i \log p_{i,y_i}",
    **{
        f"logarithm_guarded_by_{name}": rf"J=-\dfrac{{1}}{{N}}\sum_i \log\left(p_{{i,y_i}}+{small}\right)"
        for name, small in _powers(2, 15).items()
    },
    **{
        f"logarithm_limited_at_{name}": rf"J=-\dfrac{{1}}{{N}}\sum_i \log\,\max\left(p_{{i,y_i}},{small}\right)"
        for name, small in _powers(2, 15).items()
    },
)  # fmt: skip
_PENALTY = _with(
    r"J=J_{data}+\lambda\left(\|W_1\|^2+\|W_2\|^2\right)",
    regularisation_missing=r"J=J_{data}",
    regularisation_halved=r"J=J_{data}+\dfrac{\lambda}{2}\left(\|W_1\|^2+\|W_2\|^2\right)",
    regularisation_twice=r"J=J_{data}+2\lambda\left(\|W_1\|^2+\|W_2\|^2\right)",
    regularisation_averaged=r"J=J_{data}+\dfrac{\lambda}{N}\left(\|W_1\|^2+\|W_2\|^2\right)",
    regularisation_averaged_and_halved=r"J=J_{data}+\dfrac{\lambda}{2N}\left(\|W_1\|^2+\|W_2\|^2\right)",
    regularisation_subtracted=r"J=J_{data}-\lambda\left(\|W_1\|^2+\|W_2\|^2\right)",
    regularisation_without_strength=r"J=J_{data}+\|W_1\|^2+\|W_2\|^2",
    strength_squared=r"J=J_{data}+\lambda^2\left(\|W_1\|^2+\|W_2\|^2\right)",
    only_W1_regularised=r"J=J_{data}+\lambda\|W_1\|^2", only_W2_regularised=r"J=J_{data}+\lambda\|W_2\|^2",
    W2_without_strength=r"J=J_{data}+\lambda\|W_1\|^2+\|W_2\|^2",
    biases_regularised=r"J=J_{data}+\lambda\left(\|W_1\|^2+\|W_2\|^2+\|b_1\|^2+\|b_2\|^2\right)",
    norms_not_squared=r"J=J_{data}+\lambda\left(\|W_1\|+\|W_2\|\right)",
    norms_added=r"J=J_{data}+\lambda\left(\|W_1\|+\|W_2\|\right)^2",
    absolute_weights=r"J=J_{data}+\lambda\sum|w|", weights_not_squared=r"J=J_{data}+\lambda\sum w",
    square_of_sum=r"J=J_{data}+\lambda\left((\sum w_1)^2+(\sum w_2)^2\right)",
    data_loss_missing=r"J=\lambda\left(\|W_1\|^2+\|W_2\|^2\right)",
    regularisation_for_each_sample=r"J=J_{data}+N\lambda\left(\|W_1\|^2+\|W_2\|^2\right)",
    strength_halved_and_squared=r"J=J_{data}+\dfrac{\lambda^2}{2}\left(\|W_1\|^2+\|W_2\|^2\right)",
    strength_rounded=r"J=J_{data}+\lfloor\lambda\rfloor\left(\|W_1\|^2+\|W_2\|^2\right)",
    strength_added=r"J=J_{data}+\lambda+\|W_1\|^2+\|W_2\|^2",
    W1_twice=r"J=J_{data}+2\lambda\|W_1\|^2", W2_twice=r"J=J_{data}+2\lambda\|W_2\|^2",
    W1_once_more=r"J=J_{data}+\lambda\left(2\,\|W_1\|^2+\|W_2\|^2\right)",
    W2_once_more=r"J=J_{data}+\lambda\left(\|W_1\|^2+2\,\|W_2\|^2\right)",
    biases_for_weights=r"J=J_{data}+\lambda\left(\|b_1\|^2+\|b_2\|^2\right)",
    b1_regularised=r"J=J_{data}+\lambda\left(\|W_1\|^2+\|W_2\|^2+\|b_1\|^2\right)",
    b2_regularised=r"J=J_{data}+\lambda\left(\|W_1\|^2+\|W_2\|^2+\|b_2\|^2\right)",
    norm_of_all_not_squared=r"J=J_{data}+\lambda\sqrt{\|W_1\|^2+\|W_2\|^2}",
    spectral_norm=r"J=J_{data}+\lambda\left(\sigma_{\max}(W_1)^2+\sigma_{\max}(W_2)^2\right)",
    all_entries_of_the_square=(
        r"J=J_{data}+\lambda\left(\sum_{h,j}(W_1^{\top}W_1)_{hj}+\sum_{k,j}(W_2^{\top}W_2)_{kj}\right)"
    ),
    square_of_common_sum=r"J=J_{data}+\lambda\left(\sum w_1+\sum w_2\right)^2",
    mean_of_squares=r"J=J_{data}+\lambda\left(\mathrm{mean}\,w_1^2+\mathrm{mean}\,w_2^2\right)",
    cubes=r"J=J_{data}+\lambda\sum w^3", largest_square=r"J=J_{data}+\lambda\left(\max w_1^2+\max w_2^2\right)",
    product_of_norms=r"J=J_{data}+\lambda\,\|W_1\|^2\,\|W_2\|^2",
    squares_of_the_product=r"J=J_{data}+\lambda\,\|W_1W_2\|^2",
    fixed_strength=r"J=J_{data}+c\left(\|W_1\|^2+\|W_2\|^2\right)",
    strength_scaled=r"J=J_{data}+c\,\lambda\left(\|W_1\|^2+\|W_2\|^2\right)",
)  # fmt: skip
_Z3 = _with(
    r"\dfrac{\partial J}{\partial z_3}=\dfrac{1}{N}\,(p-\Delta)",
    delta_missing=r"\dfrac{\partial J}{\partial z_3}=\dfrac{1}{N}\,p",
    delta_missing_and_not_averaged=r"\dfrac{\partial J}{\partial z_3}=p",
    delta_not_averaged=r"\dfrac{\partial J}{\partial z_3}=\dfrac{1}{N}\,p-\Delta",
    delta_added=r"\dfrac{\partial J}{\partial z_3}=\dfrac{1}{N}\,(p+\Delta)",
    one_subtracted_everywhere=r"\dfrac{\partial J}{\partial z_3}=\dfrac{1}{N}\,(p-1)",
    probabilities_missing=r"\dfrac{\partial J}{\partial z_3}=-\dfrac{1}{N}\,\Delta",
    not_averaged=r"\dfrac{\partial J}{\partial z_3}=p-\Delta",
    averaged_over_entries=r"\dfrac{\partial J}{\partial z_3}=\dfrac{1}{N K}\,(p-\Delta)",
    averaged_over_classes=r"\dfrac{\partial J}{\partial z_3}=\dfrac{1}{K}\,(p-\Delta)",
    derivative_of_the_probability=r"\dfrac{\partial J}{\partial z_3}=\dfrac{1}{N}\,p\,(1-p)",
    softmax_differentiated_by_entries=r"\dfrac{\partial J}{\partial z_3}=\dfrac{1}{N}\,(p-\Delta)\odot p\odot(1-p)",
    sign=r"\dfrac{\partial J}{\partial z_3}=\dfrac{1}{N}\,(\Delta-p)",
    sign_of_dz3=r"\dfrac{\partial J}{\partial z_3}=\dfrac{1}{N}\,(\Delta-p)",
    **{
        name: rf"\left(\dfrac{{\partial J}}{{\partial z_3}}\right)_{{ik}}={text}"
        for name, text in {
            "label_subtracted": r"\dfrac{1}{N}\,(p_{ik}-y_i)",
            "delta_of_shifted_labels": r"\dfrac{1}{N}\,(p_{ik}-[\,k=y_i-1\,])",
            "delta_of_labels_from_1": r"\dfrac{1}{N}\,(p_{ik}-[\,k=y_i-1\,])",
            "other_classes_negative": r"\dfrac{1}{N}\,(p_{ik}-\Delta_{ik})(2\Delta_{ik}-1)",
            "true_class_not_in_the_sum": r"\dfrac{1}{N}\left(\dfrac{p_{ik}}{1-p_{i,y_i}}-\Delta_{ik}\right)",
            "class_not_in_its_own_sum": r"\dfrac{1}{N}\left(\dfrac{p_{ik}}{1-p_{ik}}-\Delta_{ik}\right)",
            "losses_of_all_classes": r"-\dfrac{1}{N}\log p_{ik}",
            "loss_not_differentiated": r"-\dfrac{1}{N}\log p_{i,y_i}",
            "squared_error_differentiated": (
                r"\dfrac{c}{N}\,p_{ik}\left(d_{ik}-\sum_j p_{ij}\,d_{ij}\right),\ d_{ik}=p_{ik}-\Delta_{ik}"
            ),
            "every_class_as_the_true_one": r"-\dfrac{1}{N}\,\dfrac{p_{ik}(1-p_{ik})}{p_{i,y_i}}",
            "delta_from_the_end": r"\dfrac{1}{N}\,(p_{ik}-[\,k=-y_i\;\mathrm{mod}\;K\,])",
            "logarithm_for_probability": r"\dfrac{1}{N}\,(\log p_{ik}-\Delta_{ik})",
            "delta_subtracted_twice": r"\dfrac{1}{N}\,(p_{ik}-2\Delta_{ik})",
            "delta_of_all_labels": r"\dfrac{1}{N}\,(p_{ik}-\max_n\,\Delta_{nk})",
            "delta_in_whole_rows": r"\dfrac{1}{N}\,(p_{ik}-\max_n\,[\,y_n=i-1\,])",
            "delta_alone_averaged": r"p_{ik}-\dfrac{1}{N}\,\Delta_{ik}",
            "derivative_of_the_true_probability": r"\dfrac{1}{N}\,p_{i,y_i}(\Delta_{ik}-p_{ik})",
            "minus_derivative_of_the_true_probability": r"\dfrac{1}{N}\,p_{i,y_i}(p_{ik}-\Delta_{ik})",
            "true_classes_alone_averaged": r"\left(1-\Delta_{ik}+\dfrac{1}{N}\,\Delta_{ik}\right)(p_{ik}-\Delta_{ik})",
            "true_classes_not_averaged": r"\left(\Delta_{ik}+\dfrac{1}{N}\,(1-\Delta_{ik})\right)(p_{ik}-\Delta_{ik})",
            "delta_at_the_other_classes": r"\dfrac{1}{N}\,(p_{ik}-1+\Delta_{ik})",
            "delta_of_reversed_labels": r"\dfrac{1}{N}\,(p_{ik}-\Delta_{N+1-i,k})",
            "true_probability_throughout": r"\dfrac{1}{N}\,(p_{i,y_i}-\Delta_{ik})",
            "delta_of_the_first_label": r"\dfrac{1}{N}\,(p_{ik}-\Delta_{1k})",
            "delta_of_the_first_column": r"\dfrac{1}{N}\,(p_{ik}-[\,k=0\,])",
            "averaged_over_one_less": r"\dfrac{1}{N-1}\,(p_{ik}-\Delta_{ik})",
            "derivative_of_the_logarithm_alone": r"-\dfrac{1}{N}\,\dfrac{\Delta_{ik}}{p_{ik}}",
            "difference_of_the_true_class": r"\dfrac{1}{N}\,(p_{ik}-\Delta_{ik})\,\Delta_{ik}",
            "z3_averaged_away": r"\dfrac{1}{N}\sum_n(p_{nk}-\Delta_{nk})",
            "fixed_number_of_samples": r"c\,(p_{ik}-\Delta_{ik})",
        }.items()
    },
)  # fmt: skip
_Z2 = _with(
    r"\dfrac{\partial J}{\partial z_2}=\dfrac{\partial J}{\partial a_2}\odot[\,z_2>0\,]",
    mask_missing=r"\dfrac{\partial J}{\partial z_2}=\dfrac{\partial J}{\partial a_2}",
    mask_inverted=r"\dfrac{\partial J}{\partial z_2}=\dfrac{\partial J}{\partial a_2}\odot[\,z_2<0\,]",
    mask_of_the_gradient=r"\dfrac{\partial J}{\partial z_2}=\max\left(0,\dfrac{\partial J}{\partial a_2}\right)",
    mask_alone=r"\dfrac{\partial J}{\partial z_2}=[\,z_2>0\,]",
    relu_for_its_derivative=r"\dfrac{\partial J}{\partial z_2}=\dfrac{\partial J}{\partial a_2}\odot\max(0,z_2)",
    values_for_the_mask=r"\dfrac{\partial J}{\partial z_2}=\dfrac{\partial J}{\partial a_2}\odot z_2",
    sign_for_the_mask=r"\dfrac{\partial J}{\partial z_2}=\dfrac{\partial J}{\partial a_2}\odot\mathrm{sign}(z_2)",
    **{
        f"mask_above_{limit}": (
            rf"\dfrac{{\partial J}}{{\partial z_2}}=\dfrac{{\partial J}}{{\partial a_2}}\odot[\,z_2>{limit}\,]"
        )
        for limit in ("1", "0.5", "0.1", "0.01")
    },
    arguments_exchanged=r"\dfrac{\partial J}{\partial z_2}=z_2\odot\left[\,\dfrac{\partial J}{\partial a_2}>0\,\right]",
    mask_of_both=(
        r"\dfrac{\partial J}{\partial z_2}=\max\left(0,\dfrac{\partial J}{\partial a_2}\right)\odot[\,z_2>0\,]"
    ),
    mask_added=r"\dfrac{\partial J}{\partial z_2}=\dfrac{\partial J}{\partial a_2}+[\,z_2>0\,]",
    mask_in_a_matrix_product=(
        r"\dfrac{\partial J}{\partial z_2}=\left(\dfrac{\partial J}{\partial a_2}\right)^{\top}[\,z_2>0\,]"
    ),
    mask_of_a_row=(
        r"\left(\dfrac{\partial J}{\partial z_2}\right)_{ih}="
        r"\left(\dfrac{\partial J}{\partial a_2}\right)_{ih}[\,\min_j\,(z_2)_{ij}>0\,]"
    ),
    sigmoid_for_the_mask=r"\dfrac{\partial J}{\partial z_2}=\dfrac{\partial J}{\partial a_2}\odot\dfrac{1}{1+e^{-z_2}}",
    slope_of_the_sigmoid=(
        r"\dfrac{\partial J}{\partial z_2}=\dfrac{\partial J}{\partial a_2}\odot\dfrac{e^{-z_2}}{(1+e^{-z_2})^2}"
    ),
    slope_of_tanh=r"\dfrac{\partial J}{\partial z_2}=\dfrac{\partial J}{\partial a_2}\odot(1-\tanh^2 z_2)",
    dz2_averaged_again=(
        r"\dfrac{\partial J}{\partial z_2}=\dfrac{1}{N}\,\dfrac{\partial J}{\partial a_2}\odot[\,z_2>0\,]"
    ),
    leaky_mask=(
        r"\dfrac{\partial J}{\partial z_2}=\dfrac{\partial J}{\partial a_2}\odot([\,z_2>0\,]+c\,[\,z_2\leq 0\,])"
    ),
)  # fmt: skip


#: Of the samples i = 1, ..., N, those that are summed.
_SAMPLES = {
    "but_the_first": r"i\geq 2", "but_the_last": r"i\leq N-1", "with_even_numbers": r"i=1,3,\dots",
    "with_odd_numbers": r"i=2,4,\dots",
}  # fmt: skip


def _of_layer(layer: int, inputs: str) -> dict[str, tuple[str, str]]:
    W, b = rf"\dfrac{{\partial J}}{{\partial W_{layer}}}", rf"\dfrac{{\partial J}}{{\partial b_{layer}}}"
    z = rf"\dfrac{{\partial J}}{{\partial z_{layer + 1}}}"
    row, columns = rf"\left({z}\right)", "D" if layer == 1 else "H"
    weights = {
        f"W{layer}_transposed": rf"{W}={row}^{{\top}}{inputs}",
        f"W{layer}_averaged_again": rf"{W}=\dfrac{{1}}{{N}}\,{inputs}^{{\top}}{z}",
        f"W{layer}_of_entries": rf"{W}={inputs}\odot {z}",
        f"W{layer}_of_a_mask": rf"{W}=[\,{inputs}>0\,]^{{\top}}{z}",
        f"W{layer}_of_the_first_sample": rf"{W}=\left({inputs}\right)_{{1}}^{{\top}}{row}_{{1}}",
        f"W{layer}_with_the_first_sample_twice": (
            rf"{W}={inputs}^{{\top}}{z}+\left({inputs}\right)_{{1}}^{{\top}}{row}_{{1}}"
        ),
        f"W{layer}_of_the_last_sample": rf"{W}=\left({inputs}\right)_{{N}}^{{\top}}{row}_{{N}}",
        f"W{layer}_of_sizes": rf"{W}=|{inputs}|^{{\top}}{z}",
        f"W{layer}_product_of_sums": rf"{W}=\sum_i\left({inputs}\right)_{{i}}^{{\top}}\,\sum_n{row}_{{n}}",
        **{
            f"W{layer}_of_samples_{name}": rf"{W}=\sum_{{{some}}}\left({inputs}\right)_{{i}}^{{\top}}{row}_{{i}}"
            for name, some in _SAMPLES.items()
        },
        f"W{layer}_of_reversed_samples": rf"{W}=\sum_i\left({inputs}\right)_{{N+1-i}}^{{\top}}{row}_{{i}}",
        f"W{layer}_cast": rf"{W}=\mathrm{{trunc}}({inputs})^{{\top}}{z}",
        f"W{layer}_centred": rf"{W}=\left({inputs}-\mathrm{{mean}}_i\,{inputs}\right)^{{\top}}{z}",
        f"W{layer}_averaged_over_columns": rf"{W}=\dfrac{{1}}{{{columns}}}\,{inputs}^{{\top}}{z}",
        f"W{layer}_normalised": rf"{W}=\dfrac{{G}}{{\|G\|}},\ G={inputs}^{{\top}}{z}",
        f"W{layer}_not_summed": rf"{W}_{{(i)}}=\left({inputs}\right)_{{i}}^{{\top}}{row}_{{i}}",
        f"W{layer}_summed_once_more": rf"{W}=\sum_j\left({inputs}^{{\top}}{z}\right)_{{jk}}",
    }
    biases = {
        f"b{layer}_over_the_wrong_axis": rf"{b}=\sum_k{row}_{{ik}}",
        f"b{layer}_mean_over_the_wrong_axis": rf"{b}=\dfrac{{1}}{{K}}\sum_k{row}_{{ik}}",
        f"b{layer}_with_the_first_row_twice": rf"{b}={row}_{{1k}}+\sum_i{row}_{{ik}}",
        f"b{layer}_sum_of_everything": rf"{b}=\sum_{{i,k}}{row}_{{ik}}",
        f"b{layer}_sum_of_everything_spread": rf"{b}=\sum_{{i,k}}{row}_{{ik}}",
        f"b{layer}_mean": rf"{b}=\dfrac{{1}}{{N}}\sum_i{row}_{{ik}}",
        f"b{layer}_not_summed": rf"{b}={z}",
        f"b{layer}_first_row": rf"{b}={row}_{{1k}}",
        f"b{layer}_last_row": rf"{b}={row}_{{Nk}}",
        **{f"b{layer}_of_rows_{name}": rf"{b}=\sum_{{{some}}}{row}_{{ik}}" for name, some in _SAMPLES.items()},
        f"b{layer}_mean_of_active_rows": rf"{b}=\dfrac{{\sum_i{row}_{{ik}}}}{{\sum_i[\,{row}_{{ik}}\neq 0\,]}}",
        f"b{layer}_of_sizes": rf"{b}=\sum_i\left|{z}\right|_{{ik}}",
        f"b{layer}_of_positive_parts": rf"{b}=\sum_i\,\max\left(0,{row}_{{ik}}\right)",
        f"b{layer}_largest": rf"{b}=\max_i\,{row}_{{ik}}",
        f"b{layer}_cumulative": rf"{b}_{{(n)}}=\sum_{{i\leq n}}{row}_{{ik}}",
        f"b{layer}_ones": rf"{b}=1",
        f"b{layer}_counted": rf"{b}=N",
    }
    return _with(rf"{W}={inputs}^{{\top}}{z}", **weights) | _with(rf"{b}=\sum_i{row}_{{ik}}", **biases)


_A2, _DZ3 = r"\dfrac{\partial J}{\partial a_2}", r"\dfrac{\partial J}{\partial z_3}"
_STEPS = {
    **_Z3, **_Z2, **_of_layer(1, "X"), **_of_layer(2, "a_2"),
    **_with(
        rf"{_A2}={_DZ3}\,W_2^{{\top}}",
        da2_positive=rf"{_A2}=\max\left(0,{_DZ3}\,W_2^{{\top}}\right)",
        da2_averaged_again=rf"{_A2}=\dfrac{{1}}{{N}}\,{_DZ3}\,W_2^{{\top}}",
        da2_of_sizes=rf"{_A2}={_DZ3}\,|W_2|^{{\top}}",
        da2_averaged_over_classes=rf"{_A2}=\dfrac{{1}}{{K}}\,{_DZ3}\,W_2^{{\top}}",
        da2_of_the_inverse=rf"{_A2}={_DZ3}\,W_2^{{+}}",
        da2_transposed=rf"{_A2}=W_2\left({_DZ3}\right)^{{\top}}",
        da2_of_the_summed_weights=(
            rf"\left({_A2}\right)_{{ih}}=\sum_k\left({_DZ3}\right)_{{ik}}\,\sum_j\left(W_2\right)_{{hj}}"
        ),
    ),
}  # fmt: skip
_W = r"\dfrac{\partial J}{\partial W}=\dfrac{\partial J_{data}}{\partial W}"
_B = r"\dfrac{\partial J}{\partial b}=\dfrac{\partial J_{data}}{\partial b}"
_BACKWARD = {
    **{name: pair for name, pair in _STEPS.items() if name not in _GENERAL},
    **_with(
        rf"{_W}+2\lambda W",
        regularisation_missing=_W, regularisation_without_2=rf"{_W}+\lambda W",
        regularisation_twice=rf"{_W}+4\lambda W",
        regularisation_subtracted=rf"{_W}-2\lambda W", regularisation_averaged=rf"{_W}+\dfrac{{2\lambda}}{{N}}W",
        regularisation_averaged_without_2=rf"{_W}+\dfrac{{\lambda}}{{N}}W", strength_ignored=rf"{_W}+2W",
        strength_squared=rf"{_W}+2\lambda^2 W", strength_alone=rf"{_W}+2\lambda",
        squares_not_derived=rf"{_W}+c\,\lambda W^2", signs_of_the_weights=rf"{_W}+c\,\lambda\,\mathrm{{sign}}(W)",
        regularisation_for_each_sample=rf"{_W}+2N\lambda W", strength_squared_without_2=rf"{_W}+\lambda^2 W",
        sizes_of_the_weights=rf"{_W}+c\,\lambda\,|W|", regularisation_summed=rf"{_W}+c\,\lambda\sum w",
        regularisation_of_norms=rf"{_W}+c\,\lambda\,\|W\|^2",
        weights_divided_by_norm=rf"{_W}+c\,\lambda\,\dfrac{{W}}{{\|W\|}}",
        fixed_strength=rf"{_W}+c\,W", strength_scaled=rf"{_W}+c\,\lambda W",
    ),
    **{
        f"W{layer}_{name}": (wrong.replace("W", f"W_{layer}"), rf"{_W}+2\lambda W".replace("W", f"W_{layer}"))
        for layer in "12"
        for name, wrong in {"not_regularised": _W, "regularised_1": rf"{_W}+\lambda W"}.items()
    },
    **{
        f"{name}_regularised_{factor}": (rf"{_B}+{factor}\lambda b".replace("+1", "+"), _B)
        for name in ("b1_b2", "b1", "b2")
        for factor in "12"
    },
    **_with(
        r"\dfrac{\partial J}{\partial b}=\sum_i\left(\dfrac{\partial J}{\partial z}\right)_{ik}",
        biases_not_averaged=r"\dfrac{\partial J}{\partial b}=N\sum_i\left(\dfrac{\partial J}{\partial z}\right)_{ik}",
        biases_averaged_twice=(
            r"\dfrac{\partial J}{\partial b}=\dfrac{1}{N}\sum_i\left(\dfrac{\partial J}{\partial z}\right)_{ik}"
        ),
    ),
    **_with(rf"{_W}+2\lambda W,\quad {_B}", biases_for_weights=rf"{_W},\quad {_B}+2\lambda b"),
    **_with(
        rf"{_A2}={_DZ3}\,W_2^{{\top}}",
        penalty_for_weights=rf"{_A2}=2\lambda\,{_DZ3}\,W_2^{{\top}}",
        gradient_for_weights=rf"{_A2}={_DZ3}\,G^{{\top}},\ G=a_2^{{\top}}{_DZ3}+c\,\lambda W_2",
    ),
    **_with("v", gradients_clipped=r"\min(\max(v,-1),1)"),
    **_with(
        r"G=\nabla\tilde J",
        parameters_for_gradients=r"G=\theta", parameters_after_a_step=r"G=\theta+c\,\nabla\tilde J",
    ),
    **_with(
        r"\dfrac{\partial J}{\partial W_2}=a_2^{\top}\dfrac{\partial J}{\partial z_3}+2\lambda W_2",
        z2_for_a2=r"\dfrac{\partial J}{\partial W_2}=z_2^{\top}\dfrac{\partial J}{\partial z_3}+2\lambda W_2",
    ),
    **_with(
        r"\dfrac{\partial J}{\partial z_3}=\dfrac{1}{N}\,(p-\Delta)",
        logits_for_probabilities=r"\dfrac{\partial J}{\partial z_3}=\dfrac{1}{N}\,(z_3-\Delta)",
        probabilities_twice=r"\dfrac{\partial J}{\partial z_3}=\dfrac{1}{N}\,(\mathrm{softmax}(p)-\Delta)",
        largest_for_probabilities=(
            r"\left(\dfrac{\partial J}{\partial z_3}\right)_{ik}="
            r"\dfrac{1}{N}\,([\,p_{ik}=\max_j p_{ij}\,]-\Delta_{ik})"
        ),
    ),
}  # fmt: skip
_QUOTIENT = _with(
    r"\dfrac{f(x+h)-f(x-h)}{2h}",
    forward_difference=r"\dfrac{f(x+h)-f(x)}{h}", backward_difference=r"\dfrac{f(x)-f(x-h)}{h}",
    divided_by_h=r"\dfrac{f(x+h)-f(x-h)}{h}", divided_by_4h=r"\dfrac{f(x+h)-f(x-h)}{4h}",
    divided_by_h_squared=r"\dfrac{f(x+h)-f(x-h)}{h^2}", multiplied_by_h=r"\dfrac{f(x+h)-f(x-h)}{2}\,h",
    not_divided=r"f(x+h)-f(x-h)", forward_halved=r"\dfrac{f(x+h)-f(x)}{2h}", backward_halved=r"\dfrac{f(x)-f(x-h)}{2h}",
    forward_not_divided=r"f(x+h)-f(x)", sign=r"\dfrac{f(x-h)-f(x+h)}{2h}",
    half_a_step=r"\dfrac{f(x+\dfrac{h}{2})-f(x-\dfrac{h}{2})}{h}", double_step=r"\dfrac{f(x+2h)-f(x-2h)}{4h}",
    **{f"{name}_added_to_2h": rf"\dfrac{{f(x+h)-f(x-h)}}{{2h+{small}}}" for name, small in _powers(6, 12).items()
       if name != "1e-11"},
    second_derivative=r"\dfrac{f(x+h)-2\,f(x)+f(x-h)}{h^2}",
    rows_moved_over_h=r"\dfrac{f(x_{i1}+h,\dots,x_{in}+h)-f(x_{i1}-h,\dots,x_{in}-h)}{h}",
    columns_moved_over_h=r"\dfrac{f(x_{1j}+h,\dots,x_{mj}+h)-f(x_{1j}-h,\dots,x_{mj}-h)}{h}",
    absolute_difference=r"\dfrac{|f(x+h)-f(x-h)|}{2h}",
    sum_for_difference=r"\dfrac{f(x+h)-f(x)}{h}-\dfrac{f(x)-f(x-h)}{h}",
    half_a_step_divided_by_2h=r"\dfrac{f(x+\dfrac{h}{2})-f(x-\dfrac{h}{2})}{2h}",
    fixed_divisor=r"\dfrac{f(x+h)-f(x-h)}{2\cdot 10^{-5}}", averaged=r"\dfrac{1}{n}\,\dfrac{f(x+h)-f(x-h)}{2h}",
    rows_moved=r"\dfrac{f(x_{i1}+h,\dots,x_{in}+h)-f(x_{i1}-h,\dots,x_{in}-h)}{2h}",
    columns_moved=r"\dfrac{f(x_{1j}+h,\dots,x_{mj}+h)-f(x_{1j}-h,\dots,x_{mj}-h)}{2h}",
    step_by_entry=(
        r"\dfrac{f(x+s\,h)-f(x-s\,h)}{2\,c\,h},\ s\in\{\max(1,|x|),\,1+|x|\},\ c\in\{1,s\}"
    ),
    same_point=r"\dfrac{f(u)-f(u)}{2h}=0",
    all_entries_moved=r"\dfrac{f(x_1+h,\dots,x_n+h)-f(x_1-h,\dots,x_n-h)}{2h}",
    **{f"points_always_{name}_apart": rf"\dfrac{{f(x+{h})-f(x-{h})}}{{2h}}" for name, h in _powers(2, 6).items()},
    **{f"step_always_{name}": rf"\dfrac{{f(x+{h})-f(x-{h})}}{{2\cdot {h}}}" for name, h in _powers(1, 6).items()},
)  # fmt: skip
_BELOW = r"\max(10^{-8},\,|a|+|b|)"
_ERROR = _with(
    rf"\max\,\dfrac{{|a-b|}}{{{_BELOW}}}",
    averaged=rf"\mathrm{{mean}}\,\dfrac{{|a-b|}}{{{_BELOW}}}", summed=rf"\sum\,\dfrac{{|a-b|}}{{{_BELOW}}}",
    smallest=rf"\min\,\dfrac{{|a-b|}}{{{_BELOW}}}", signed=rf"\max\,\dfrac{{a-b}}{{{_BELOW}}}",
    sum_inside=r"\max\,\dfrac{|a-b|}{\max(10^{-8},\,|a+b|)}", of_norms=r"\dfrac{\|a-b\|}{\|a\|+\|b\|}",
    difference_inside=rf"\max\,\dfrac{{|\,|a|-|b|\,|}}{{{_BELOW}}}",
    by_the_larger=r"\max\,\dfrac{|a-b|}{\max(10^{-8},\,|a|,\,|b|)}", by_a=r"\max\,\dfrac{|a-b|}{|a|}",
    by_b=r"\max\,\dfrac{|a-b|}{|b|}", by_the_mean=r"\max\,\dfrac{2\,|a-b|}{|a|+|b|}", not_relative=r"\max\,|a-b|",
    **{f"{name}_added": rf"\max\,\dfrac{{|a-b|}}{{|a|+|b|+{small}}}" for name, small in _powers(1, 16).items()},
    **{
        f"limited_by_{name}": rf"\max\,\dfrac{{|a-b|}}{{\max({limit},\,|a|+|b|)}}"
        for name, limit in {"1": "1", **_powers(1, 16)}.items()
        if name != "1e-08"
    },
    limit_missing=r"\max\,\dfrac{|a-b|}{|a|+|b|}", limit_from_above=r"\max\,\dfrac{|a-b|}{\min(10^{-8},\,|a|+|b|)}",
    median=rf"\mathrm{{median}}\,\dfrac{{|a-b|}}{{{_BELOW}}}", all_quotients=rf"\dfrac{{|a-b|}}{{{_BELOW}}}",
    place_of_the_largest=rf"\mathrm{{argmax}}\,\dfrac{{|a-b|}}{{{_BELOW}}}",
    signed_after=rf"\left|\,\max\,\dfrac{{a-b}}{{{_BELOW}}}\right|",
    of_maxima=r"\dfrac{\max|a-b|}{\max(|a|+|b|)}", of_sums=r"\dfrac{\sum|a-b|}{\sum(|a|+|b|)}",
    at_the_largest_difference=rf"\left(\dfrac{{|a-b|}}{{{_BELOW}}}\right)_{{k}},\ k=\mathrm{{argmax}}\,|a-b|",
    at_the_largest_entry=rf"\left(\dfrac{{|a-b|}}{{{_BELOW}}}\right)_{{k}},\ k=\mathrm{{argmax}}\,(|a|+|b|)",
    tiny_entries_ignored=rf"\max\left([\,|a|+|b|>10^{{-8}}\,]\,\dfrac{{|a-b|}}{{{_BELOW}}}\right)",
    by_twice_a=r"\max\,\dfrac{|a-b|}{2\,|a|}", by_twice_b=r"\max\,\dfrac{|a-b|}{2\,|b|}",
    by_the_mean_limited=r"\max\,\dfrac{|a-b|}{\max(10^{-8},\,(|a|+|b|)/2)}",
    of_squares=r"\max\,\dfrac{(a-b)^2}{\max(10^{-8},\,a^2+b^2)}",
    squared_difference=rf"\max\,\dfrac{{(a-b)^2}}{{{_BELOW}}}",
    **{f"percentile_{share}": rf"Q_{{0.{share}}}\,\dfrac{{|a-b|}}{{{_BELOW}}}" for share in (90, 95, 99)},
    by_a_unlimited=r"\max\,\dfrac{|a-b|}{|a|}", by_b_unlimited=r"\max\,\dfrac{|a-b|}{|b|}",
    by_the_root_of_squares=r"\max\,\dfrac{|a-b|}{\max(10^{-8},\,\sqrt{a^2+b^2})}",
    a_overwritten=r"\max\,\dfrac{|a-b|}{\max(10^{-8},\,|a-b|+|b|)}",
    b_overwritten=r"\max\,\dfrac{|a-b|}{\max(10^{-8},\,|a|+|a-b|)}",
    quotient_and_size=r"\max\left(\dfrac{|a-b|}{\max(10^{-8},\,|a|)}+|b|\right)",
    limit_of_the_quotient=r"\max\left(10^{-8},\,\max\,\dfrac{|a-b|}{|a|+|b|}\right)",
    logarithm=rf"\log_{{10}}\,\max\,\dfrac{{|a-b|}}{{{_BELOW}}}",
    in_percent=rf"100\,\max\,\dfrac{{|a-b|}}{{{_BELOW}}}",
)  # fmt: skip

_STEP = r"\theta\leftarrow\theta-\eta\,\nabla\tilde J"
_DESCENT = _with(_STEP, **{
    "uphill": r"\theta\leftarrow\theta+\eta\,\nabla\tilde J",
    "summed": r"\theta\leftarrow\theta-\eta\,B\,\nabla\tilde J",
    "doubled": r"\theta\leftarrow\theta-2\,\eta\,\nabla\tilde J",
    "halved": r"\theta\leftarrow\theta-\dfrac{\eta}{2}\nabla\tilde J",
    "replaced": r"\theta\leftarrow-\eta\,\nabla\tilde J",
    "sign": r"\theta\leftarrow\theta-\eta\,\mathrm{sign}(\nabla\tilde J)",
    "rate twice": r"\theta\leftarrow\theta-\eta^2\,\nabla\tilde J",
    "no rate": r"\theta\leftarrow\theta-\nabla\tilde J",
    "no penalty": r"\theta\leftarrow\theta-\eta\,\nabla J",
})  # fmt: skip
_RATE = r"\eta_t=\eta_0\,d^{\,\lfloor t/E\rfloor}"
_SCHEDULE = _with(_RATE, **{
    "never": r"\eta_t=\eta_0", "every iteration": r"\eta_t=\eta_0\,d^{\,t}",
    "early": r"\eta_t=\eta_0\,d^{\,\lceil t/E\rceil}",
    "before": r"\eta_t=\eta_0\,d^{\,\lfloor t/E\rfloor+1}",
    "parts": r"\eta_t=\eta_0\,d^{\,t/E}", "not rounded": r"\eta_t=\eta_0\,d^{\,\lfloor t\,B/N\rfloor}",
    "batch": r"\eta_t=\eta_0\,d^{\,\lfloor t/B\rfloor}",
    "every second": r"\eta_t=\eta_0\,d^{\,\lfloor t/(2E)\rfloor}",
    "grows": r"\eta_t=\eta_0\,d^{\,-\lfloor t/E\rfloor}",
    "inverse": r"\eta_t=\dfrac{\eta_0}{1+d\,\lfloor t/E\rfloor}",
    "exponential": r"\eta_t=\eta_0\,e^{-d\,\lfloor t/E\rfloor}",
    "taken off 1": r"\eta_t=\eta_0\,(1-d)^{\lfloor t/E\rfloor}",
    "linear": r"\eta_t=\eta_0\,(1-d\,\lfloor t/E\rfloor)",
})  # fmt: skip

# --- Where they are recognised --------------------------------------------------------------

_Arguments = Callable[[], Mapping[str, Any]]


def _known() -> dict[str, Any]:
    given = problem("biased")
    return {**given.values, **given.params, "X": given.X, "y": given.y, "dz3": given.values["z3"]}


def _of_prepared(symbol: str) -> dict[str, tuple[str, str]]:
    """Formulas of what may be done to an argument, by the kinds of :func:`course_utils.mistakes.prepared`."""
    of = {
        "standardised": r"\dfrac{v-\mathrm{mean}\,v}{\mathrm{std}\,v}", "centred": r"v-\mathrm{mean}\,v",
        "of_unit_length": r"\dfrac{v}{\|v\|}", "scaled_by_its_range": r"\dfrac{v-\min v}{\max v-\min v}",
        "scaled_by_its_largest": r"\dfrac{v}{\max|v|}", "scaled_by_255": r"\dfrac{v}{255}",
        "cast": r"\mathrm{trunc}(v)", "limited_to_1": r"\min(\max(v,-1),1)",
        "limited_to_0_and_1": r"\min(\max(v,0),1)", "of_sizes": "|v|", "positive": r"\max(0,v)", "of_squares": "v^2",
        "of_tanh": r"\tanh v", "of_reversed_rows": "v_{N+1-i}",
    }  # fmt: skip
    return {f"{symbol}_{kind}": (wrong, "v_i" if "_i" in wrong else "v") for kind, wrong in of.items()}


def _step(variable: str) -> tuple:
    def arguments() -> dict[str, Any]:
        known = _known()
        return {name: known[name] for name in STEPS[variable]} | {"right": right_steps()}

    known = mistakes.step_alone(variable)
    given = {one.stage.removeprefix("given ") for one in known if one.stage.startswith("given ")}
    formulas = {name: formula for array in given for name, formula in _of_prepared(array).items()}
    return mistakes.of_step(variable), arguments, known, formulas | _STEPS


def _whole() -> dict[str, Any]:
    given = problem("biased")
    return {"params": given.params, "X": given.X, "y": given.y, "reg": given.reg or 0.1}


def _backward() -> dict[str, Any]:
    return {**mistakes.backward_arguments(problem("biased"), 0.3), "right": right_steps()}


def _point() -> dict[str, Any]:
    return {"toy": TOY_FUNCTIONS["exponential"], "x": problem("biased").params["W1"], "step": LARGE_STEP}


def _two() -> dict[str, Any]:
    a = problem("biased").params["W1"]
    return {"a": a, "b": a * (1 + 0.1 * np.cos(np.arange(a.size))).reshape(a.shape)}


#: Question -> its model, the arguments of a call, what is recognised in it, and formulas.
QUESTIONS: dict[str, tuple[Callable, _Arguments, tuple[Deviation, ...], dict[str, tuple[str, str]]]] = {
    "test-relu": (
        mistakes.of_relu, lambda: {"z": _known()["z2"]},
        mistakes.RELU_ALONE, _of_prepared("z") | _RELU,
    ),
    "test-softmax": (
        mistakes.of_softmax, lambda: {"z": _known()["z3"]},
        mistakes.SOFTMAX_ALONE, _of_prepared("z") | _SOFTMAX,
    ),
    "test-forward": (
        mistakes.network, lambda: {"params": problem("biased").params, "X": problem("biased").X}, mistakes.FORWARD,
        {**_of_prepared("X"), **_RELU, **_SOFTMAX, **_LAYERS},
    ),
    "test-cross-entropy": (
        mistakes.of_cross_entropy, lambda: {"z3": _known()["z3"], "y": _known()["y"]}, mistakes.CROSS_ENTROPY,
        _of_prepared("z3") | _DATA,
    ),
    "test-loss": (
        lambda given, changes: {"loss": mistakes.network(given, changes)["loss"]}, _whole, mistakes.LOSS,
        {**_of_prepared("X"), **_RELU, **_LAYERS, **_DATA, **_PENALTY},
    ),
    **{f"test-grad-{variable}": _step(variable) for variable in STEPS},
    "test-backward": (mistakes.gradients, _backward, mistakes.BACKWARD, _BACKWARD),
    "test-numerical-gradient": (mistakes.quotients, _point, mistakes.QUOTIENTS, _QUOTIENT),
    "test-relative-error": (mistakes.relative_errors, _two, mistakes.RELATIVE_ERRORS, _ERROR),
}  # fmt: skip


@cache
def explain(question: str, cause: str) -> Explained | None:
    """The formulas and the picture of a cause that was recognised in a question; None where there are none."""
    if question in TRAINING:
        formulas, of = TRAINING[question]
        wrong, right = formulas.get(cause, ("", ""))
        picture = of(cause)
        return Explained(wrong, right, picture) if wrong or picture else None
    if question not in QUESTIONS:
        return None
    model, arguments, known, formulas = QUESTIONS[question]
    wrong, right = {**_GENERAL, **formulas}.get(cause, ("", ""))
    made = next((one for one in known if one.name == cause), None)
    picture = None if made is None else _picture(model, arguments(), made)
    return Explained(wrong, right, picture) if wrong or picture else None


def _of_steps(cause: str) -> Picture | None:
    """How far w^2 falls in some steps, with a gradient as many times too long as the check has it."""
    if cause not in descent.SCALES:
        return None
    rate, rows, size, steps = 0.15, 20, 4, np.arange(9)
    factor = descent.SCALES[cause][0](rate, rows, size)
    right, wrong = ((1 - 2 * rate * scale) ** (2.0 * steps) for scale in (1.0, factor))
    says = f"w^2 in {steps[-1]} steps from w = 1, with {rate:g} for the learning rate and batches of {size} of {rows}."
    return _curve(steps.astype(float), right, wrong, says)


def _of_rates(cause: str) -> Picture | None:
    """The learning rate against the iteration, from what the check compares with."""
    rows, size, decay, t = 40, 4, 0.7, np.arange(50)
    if cause in schedule.EPOCHS:
        epoch, factor = schedule.EPOCHS[cause][0], schedule.FACTORS[""][0]
    elif cause in schedule.FACTORS:
        epoch, factor = schedule.EPOCHS[""][0], schedule.FACTORS[cause][0]
    else:
        return None
    right, wrong = (
        np.asarray(of(decay, number(t, rows // size, rows, size)), dtype=float)
        for number, of in ((schedule.EPOCHS[""][0], schedule.FACTORS[""][0]), (epoch, factor))
    )
    says = f"The learning rate, as a share of the first, in 50 iterations: epochs of {rows // size}, decay {decay:g}."
    return _curve(t.astype(float), right, wrong, says)


#: Question -> formulas, and what draws a cause.
TRAINING: dict[str, tuple[dict[str, tuple[str, str]], Callable[[str], Picture | None]]] = {
    "test-train-descent": (_DESCENT, _of_steps),
    "test-train-schedule": (_SCHEDULE, _of_rates),
}


def _picture(model: Callable, arguments: Mapping[str, Any], made: Deviation) -> Picture | None:
    """What it changes: curves, where it is a function of one variable, else the first values of what differs."""
    number = f", with {_FACTOR:g} for its number" if made.fitted else ""
    variable = np.linspace(-3.0, 3.0, 121)
    places: dict[str, tuple[dict[str, Any], Callable, str]] = {
        "relu": ({"z": variable[:, None]}, mistakes.of_relu, "relu(z) for z from -3 to 3")
    }
    if "right" in arguments:
        ones = {"da2": np.ones((121, 1)), "z2": variable[:, None], "right": right_steps()}
        places["after grad_z2"] = (
            ones, mistakes.of_step("z2"), "What flows back through the ReLU of a gradient of 1, for z2 from -3 to 3",
        )  # fmt: skip
    drawn = None
    if made.stage in places:
        given, of, says = places[made.stage]
        drawn = _curve(variable, *_both(of, given, made), f"{says}{number}.")
    if drawn is None and made.stage in ("penalty", "averaging", "softmax_cross_entropy") and "reg" in arguments:
        strengths = np.linspace(0.05, 0.95, 19)
        pairs = [_both(model, {**arguments, "reg": reg}, made) for reg in strengths]
        right, wrong = ([one[side] for one in pairs] for side in (0, 1))
        if all(value is not None and value.size == 1 for value in [*right, *wrong]):
            one, other = (np.ravel(np.array(values, dtype=np.float64)) for values in (right, wrong))
            drawn = _curve(strengths, one, other, f"The loss for reg from 0.05 to 0.95{number}.")
    return drawn or _bars(*_both(model, arguments, made), number)


def _curve(x: np.ndarray, right: np.ndarray | None, wrong: np.ndarray | None, says: str) -> Picture | None:
    if right is None or wrong is None or right.shape != x.shape or wrong.shape != x.shape or not _differ(right, wrong):
        return None
    return Picture(right, wrong, says, x)


def _bars(right: np.ndarray | None, wrong: np.ndarray | None, number: str) -> Picture | None:
    if right is None or wrong is None or not _differ(right[:MOST_BARS], wrong[:MOST_BARS]):
        return None
    most = max(right.size, wrong.size)
    shown = f"The first {MOST_BARS} values" if most > MOST_BARS else "The values" if most > 1 else "The value"
    return Picture(right[:MOST_BARS], wrong[:MOST_BARS], f"{shown} on a small problem{number}.")


def _differ(right: np.ndarray, wrong: np.ndarray) -> bool:
    """Whether an eye sees the difference."""
    if right.shape != wrong.shape:
        return True
    return float(np.max(np.abs(right - wrong))) > 0.01 * float(np.max(np.abs([right, wrong])))


def _both(
    model: Callable, arguments: Mapping[str, Any], made: Deviation
) -> tuple[np.ndarray | None, np.ndarray | None]:
    """The values of the first part that differs, right and wrong, flat; None where there are none to draw."""
    try:
        with np.errstate(all="ignore"):
            right = {part: np.asarray(value) for part, value in model(arguments, {}).items()}
            wrong = deviating([made], arguments, right, model, _FACTOR)
    except Exception:  # it doesn't fit these arguments, as a student's function then raises
        return None, None
    for part, value in right.items():
        one, other = (np.ravel(np.asarray(some, dtype=np.float64)) for some in (value, wrong[part]))
        if one.shape != other.shape or not np.allclose(one, other):
            return (one, other) if other.size and np.isfinite(other).all() and np.isfinite(one).all() else (None, None)
    return None, None
