"""Theorem 4.2 on a tabular game: the attack's value is that of the induced Dec-POMDP (ALGORITHMS 1.3, T12).

Where each validation case of ALGORITHMS 2.9 is tested (files of this folder):

| case | file | test |
|---|---|---|
| T1 Gaussian channel | test_estimators_bounds.py | test_gaussian_club_and_halflog_are_upper_bounds |
| T1 fitted, between two bounds | test_estimators_pairwise.py | test_posterior_and_club_hold_the_truth_between_them |
| T1 Bernoulli channel | test_estimators_hurdle.py | test_bernoulli_club_is_the_mean_divergence_of_all_pairs |
| T1 hurdle channel | test_estimators_hurdle.py | test_hurdle_club_is_the_mean_divergence_of_all_pairs |
| T1 hurdle, quadrature | test_estimators_hurdle.py | test_hurdle_information_lies_between_the_truth_and_club |
| T1 hurdle, fitted | test_estimators_hurdle.py | test_fitted_scores_equal_the_closed_form |
| T2 confounded null | test_estimators_observation.py | test_confounded_action_without_effect_scores_nothing |
| T2 trap of shuffling | test_estimators_bounds.py | test_a_common_cause_is_no_conditional_information |
| T2 permutation-null band | test_estimators_health.py | test_only_a_true_effect_is_above_the_band |
| T3 effect and overlap | test_estimators_observation.py | test_effect_beside_a_confounder_is_measured_exactly |
| T3 per-pair form | test_estimators_pairwise.py | test_given_the_confounder_one_source_alone_is_measured_rightly |
| T4 bivariate Gaussian | test_estimators_bounds.py | test_fitted_club_is_the_closed_form_and_above_the_truth |
| T4 twenty dims (slow) | test_estimators_bounds.py | test_club_protocol_in_twenty_dimensions |
| T5 discrete table | test_estimators_action.py | test_group_information_equals_the_table |
| T5 brute force | test_estimators_action.py | test_rewrite_equals_brute_force |
| T6 reconstruction | test_estimators_action.py | test_the_reconstruction_vanishes_given_the_full_context |
| T6 policy-intrinsic KL | test_estimators_pairwise.py | test_the_literal_action_term_vanishes_given_the_memory |
| T7 exclusive or | test_estimators_observation.py | test_single_dims_of_a_xor_score_nothing |
| T8 data processing | test_estimators_observation.py | test_masked_dims_tell_nothing |
| T8 at most L dims | test_ibal_surfaces.py | test_masks_keep_to_l_dims_of_the_living_in_attacked_games |
| T8 new groups, old scores | test_ibal_surfaces.py | test_other_groups_need_no_new_scores |
| T9 toggled dim | test_estimators_observation.py | test_the_one_toggled_dim_ranks_first |
| T10 lower bounds | test_estimators_bounds.py | test_critics_find_the_truth_from_below |
| T10 saturation | test_estimators_bounds.py | test_infonce_saturates_at_the_log_of_its_candidates |
| T11 K = 0 | test_ibal.py | test_k_zero_is_exactly_no_attack |
| T11 L = 0, P_act = 0 | test_ibal.py | test_no_masked_dims_and_no_trigger_is_exactly_no_attack |
| T12 induced value | test_ibal_theory.py | test_the_induced_game_has_the_value_of_the_attacked_one |
| T12 literal formula | test_ibal_theory.py | test_the_literal_transition_has_another_value |
| confounding | test_estimators_pairwise.py | test_one_source_at_a_time_credits_company_and_the_joint_model_does_not |
"""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
import torch
from torch import Tensor

S, A, GAMMA = 4, 9, 0.9  # states, joint actions of two agents with three actions each


def rows(*shape: int, seed: int) -> Tensor:
    """Random distributions over the last axis."""
    weight = torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) ** 3
    return weight / weight.sum(-1, keepdim=True)


P = rows(S, A, S, seed=0)  # P(s' | s, executed)
R = torch.rand(S, A, S, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
SEES = rows(S, S, seed=2)  # f_adv: the state that the masked observation looks like
POLICY = rows(S, A, seed=3)  # pi(intended | seen), product form is not needed
REWRITE = rows(S, A, A, seed=4)  # pi_adv(executed | s, intended)
INTENDED = SEES @ POLICY  # pi(intended | s) through the masked observation


def composite_value() -> Tensor:
    """(S,) value of pi_adv o pi o f_adv in the attacked game."""
    executed = torch.einsum("si,sie->se", INTENDED, REWRITE)
    step = torch.einsum("se,sen->sn", executed, P)
    reward = torch.einsum("se,sen,sen->s", executed, P, R)
    return torch.linalg.solve(torch.eye(S, dtype=torch.float64) - GAMMA * step, reward)


def induced_value(literal: bool) -> Tensor:
    """(S, A) value of pi in the induced game with states (s, executed one step ago), solved as one linear system.

    The corrected transition is pi_adv(e | s, i) P(s' | s, e); the literal one follows the intention, P(s' | s, i).
    """
    if literal:
        joint = torch.einsum("si,sie,sin->sien", INTENDED, REWRITE, P)
    else:
        joint = torch.einsum("si,sie,sen->sien", INTENDED, REWRITE, P)
    step = torch.einsum("sien->sne", joint)  # to the state (s', e)
    reward = torch.einsum("sien,sen->s", joint, R)
    transition = step[:, None].expand(S, A, S, A).reshape(S * A, S * A)
    pay = reward[:, None].expand(S, A).flatten()
    return torch.linalg.solve(torch.eye(S * A, dtype=torch.float64) - GAMMA * transition, pay).view(S, A)


def test_the_induced_game_has_the_value_of_the_attacked_one() -> None:
    induced = induced_value(literal=False)
    assert float((induced - composite_value()[:, None]).abs().max()) < 1e-12


def test_the_literal_transition_has_another_value() -> None:
    gap = float((induced_value(literal=True) - composite_value()[:, None]).abs().max())
    assert gap > 0.05


def test_sampled_targets_need_no_correction_for_the_rewrite() -> None:
    """Averaging r + gamma V over executed actions gives the Bellman target of the intended one."""
    value = composite_value()
    executed = torch.einsum("sie,sen->sien", REWRITE, P)
    target = torch.einsum("sien,sen->si", executed, R) + GAMMA * torch.einsum("sien,n->si", executed, value)
    assert float(((INTENDED * target).sum(-1) - value).abs().max()) == pytest.approx(0, abs=1e-12)


def test_every_validation_case_has_its_test() -> None:
    """The table above, held against the files."""
    rows = [line.strip("| ").split(" | ") for line in (__doc__ or "").splitlines() if line.startswith("| ")][1:]
    assert {f"T{k}" for k in range(1, 13)} <= {case.split()[0] for case, _, _ in rows}
    for _, file, test in rows:
        tree = ast.parse((Path(__file__).parent / file).read_text(encoding="utf-8"))
        assert test in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}, f"{file}: {test}"
