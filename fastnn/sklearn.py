"""scikit-learn's multi-layer perceptrons on fastnn's engine.

Parameters, their validation, attributes, errors and messages are scikit-learn's own, by
inheritance. Replaced is what computes:

    _fit_stochastic      epochs of mini-batches, each one call of the engine
    _fit_lbfgs           SciPy's L-BFGS-B over the engine's gradient
    _forward_pass_fast   prediction

Random numbers are drawn in scikit-learn's order, and losses, penalties and steps are its formulas:
in float64 a fit is scikit-learn's up to rounding.
"""

from __future__ import annotations

import math
import sys
import warnings
from dataclasses import dataclass
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self, cast

import numpy as np

from fastnn.config import n_threads as bound_threads
from fastnn.errors import DivergenceError, MissingExtraError, pip_install
from fastnn.kernels._cpu import ACTIVATIONS
from fastnn.model import Model
from fastnn.network.activations import TABLE, Activation, is_parametric
from fastnn.network.arrays import Features, as_pair
from fastnn.network.parameters import Parameters, new_engine, views
from fastnn.network.spec import NetworkSpec, as_network
from fastnn.predictor import Kept
from fastnn.sklearn_callbacks import CallbackSupport, Epochs, Task, followed
from fastnn.training import evaluate as evaluation
from fastnn.training import lbfgs, loop
from fastnn.training.fit import Fit
from fastnn.training.metrics import classes, r2
from fastnn.training.optimizers import LBFGS, Optimizer, as_optimizer
from fastnn.training.plan import Plan, as_callbacks
from fastnn.training.progress import Watcher
from fastnn.training.schedules import Watching
from fastnn.training.weights import as_weights

try:
    from scipy.special import xlogy
    from sklearn import neural_network
    from sklearn.base import is_classifier
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.model_selection import train_test_split
    from sklearn.neural_network._multilayer_perceptron import BaseMultilayerPerceptron
    from sklearn.neural_network._stochastic_optimizers import (
        BaseOptimizer,
        SGDOptimizer,
    )
    from sklearn.preprocessing import LabelBinarizer
    from sklearn.utils._param_validation import Interval, StrOptions
    from sklearn.utils.class_weight import compute_sample_weight
    from sklearn.utils.fixes import _get_additional_lbfgs_options_dict
    from sklearn.utils.multiclass import unique_labels
    from sklearn.utils.optimize import _check_optimize_result
    from sklearn.utils.validation import validate_data
except ImportError as error:
    raise MissingExtraError(
        f"fastnn.sklearn needs scikit-learn 1.7 or newer: {pip_install('sklearn')} ({error})"
    ) from None

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from fastnn.names import OptimizerName
    from fastnn.training.fit import Callback

__all__ = ["MLPClassifier", "MLPRegressor"]

FASTNN = {known.sklearn: name for name, known in TABLE.items() if known.sklearn}


@dataclass
class Rule:
    """How a solver steps, as `Run` takes it."""

    kind: str
    settings: dict[str, float]
    learning_rate: Any
    ridge: float = 0.0
    weight_decay: Any = 0.0  # where a schedule gives it

    @property
    def rates(self) -> dict[str, float]:
        return {**self.settings, "ridge": self.ridge}


class Learned:
    """coefs_ and intercepts_ of an estimator, and the parameters behind them.

    Users get lists of views of theta. They may write into these, or put other arrays or lists in
    their place, at any time: `take` has them in the parameters before these are used. Lists that
    nobody holds are forgotten, so that nothing is compared or copied for them.
    """

    NAMES = "coefs_", "intercepts_"

    def __init__(self) -> None:
        self.lists: dict[str, list[np.ndarray] | None] = dict.fromkeys(self.NAMES)
        self.own: dict[str, tuple[np.ndarray, ...]] = dict.fromkeys(self.NAMES, ())
        self.parameters: Parameters | None = None
        self.kept = Kept()
        self._network: tuple[str, NetworkSpec] | None = None

    def show(self, name: str) -> list[np.ndarray]:
        shown = self.lists[name]
        if shown is None:
            shown = self.lists[name] = self._views(name)
            self.own[name] = tuple(shown)
        return shown

    def _views(self, name: str) -> list[np.ndarray]:
        assert self.parameters is not None
        W, b = views(self.parameters.network, self.parameters.theta)
        return [part.T for part in W] if name == "coefs_" else [one for one in b if one is not None]

    def shape(self) -> tuple[list[int], str]:
        """Widths of the layers and dtype."""
        coefs = self.lists["coefs_"]
        if coefs is None:
            assert self.parameters is not None
            return list(self.parameters.network.sizes), self.parameters.network.dtype
        return [len(coefs[0]), *(coef.shape[1] for coef in coefs)], str(coefs[0].dtype)

    def network(self, settings: str, make: Callable[[], NetworkSpec]) -> NetworkSpec:
        """The network of these settings, made where they are new."""
        if self._network is None or self._network[0] != settings:
            self._network = settings, make()
        return self._network[1]

    def become(self, parameters: Parameters) -> Parameters:
        self.parameters = parameters
        self.lists = dict.fromkeys(self.lists)
        self.own = dict.fromkeys(self.own, ())
        return parameters

    def take(self, network: NetworkSpec) -> Parameters:
        """The parameters, of this network, with what users have written."""
        known = self.parameters
        if known is None or (known.network.sizes, known.network.dtype) != (
            network.sizes,
            network.dtype,
        ):
            known = Parameters(network, np.empty(network.n_parameters, network.dtype))
            self.own = dict.fromkeys(self.own, ())
        elif known.network is not network:  # whose settings have changed
            known = known.copy()
            known.network = network
            self.own = dict.fromkeys(self.own, ())
        self.parameters = known
        for name in self.NAMES:
            if self.lists[name] is not None:
                self._take(name)
                if self.references(name) == ALONE:
                    self.lists[name], self.own[name] = None, ()
        return known

    def _take(self, name: str) -> None:
        parts, own = self.lists[name], self.own[name]
        if parts is None:  # another thread has forgotten them meanwhile
            return
        if len(own) != len(parts) or any(a is not b for a, b in zip(parts, own, strict=True)):
            for target, part in zip(self._views(name), parts, strict=True):
                if not np.array_equal(target, part):
                    target[...] = part
    def references(self, name: str) -> tuple[int, int]:
        """Those to a list, and the most that others than we have to one of its arrays."""
        parts, own = self.lists[name] or [], {id(part) for part in self.own[name]}
        each = (sys.getrefcount(one) - (id(one) in own) for one in parts)
        return sys.getrefcount(parts), max(each, default=0)


_probe = Learned()
_probe.lists["coefs_"] = [np.empty(1)]
ALONE = _probe.references("coefs_")


class Perceptron(CallbackSupport, BaseMultilayerPerceptron):
    """What fastnn does in place of scikit-learn's base class."""

    loss_: float
    n_iter_: int
    _no_improvement_count: int
    _learned: Learned
    _task: Task | None = None  # the fit under way, where scikit-learn's callbacks follow it

    # From coefs_ and intercepts_ to fastnn and back

    @property
    def coefs_(self) -> list[np.ndarray]:
        return self._shown("coefs_")

    @coefs_.setter
    def coefs_(self, coefs: list[np.ndarray]) -> None:
        self._learned_here().lists["coefs_"] = coefs

    @property
    def intercepts_(self) -> list[np.ndarray]:
        return self._shown("intercepts_")

    @intercepts_.setter
    def intercepts_(self, intercepts: list[np.ndarray]) -> None:
        self._learned_here().lists["intercepts_"] = intercepts

    def _shown(self, name: str) -> list[np.ndarray]:
        if "_learned" not in vars(self):
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        return self._learned.show(name)

    def _learned_here(self) -> Learned:
        if "_learned" not in vars(self):
            self._learned = Learned()
        return self._learned

    def _network(self) -> NetworkSpec:
        sizes, dtype = self._learned.shape()
        settings = self.activation, self.out_activation_, self.dropout, sizes, dtype
        return self._learned.network(repr(settings), lambda: self._new_network(sizes, dtype))

    def _new_network(self, sizes: list[int], dtype: str) -> NetworkSpec:
        hidden = self.activation
        if isinstance(hidden, (list, tuple)):
            hidden = [FASTNN.get(one, one) if isinstance(one, str) else one for one in hidden]
        elif isinstance(hidden, str):
            hidden = FASTNN.get(hidden, hidden)
        output = FASTNN.get(self.out_activation_, self.out_activation_)
        network = as_network(sizes, hidden, output, None, True, dtype, self.dropout)
        if any(map(is_parametric, network.activations)):
            raise ValueError(
                "activation must not be parametric: alpha has no place in coefs_ and intercepts_"
            )
        return network

    def __getstate__(self) -> dict[str, Any]:
        state = dict(cast("dict[str, Any]", super().__getstate__()))
        state.pop("_task", None)
        if "_learned" in state:
            state["_learned"] = self._learned.take(self._network()).copy()
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        state = dict(state)
        learned = {name: state.pop(name) for name in ("_learned", *Learned.NAMES) if name in state}
        super().__setstate__(state)
        if "_learned" in learned:
            self._learned_here().parameters = learned["_learned"]
        elif learned:  # a pickle from before
            self._learned_here().lists.update(learned)

    def _weights(self, y: np.ndarray, sample_weight: Any, rows: np.ndarray) -> np.ndarray | None:
        """Weights of all samples, those of classes for the rows that are trained on."""
        weights = as_weights(sample_weight, len(y))
        if getattr(self, "class_weight", None) is None:
            return weights
        labels = self._label_binarizer.inverse_transform(y[rows])
        weights = np.ones(len(y)) if weights is None else weights.copy()
        weights[rows] *= compute_sample_weight(self.class_weight, labels)
        return as_weights(weights, len(y))

    # What is computed

    def _fit(
        self, X: Any, y: Any, sample_weight: Any = None, incremental: bool = False
    ) -> Self:
        if incremental:
            super()._fit(X, y, sample_weight, incremental)
            return self
        with followed(self, X, y, sample_weight, self.max_iter) as self._task:
            try:
                super()._fit(X, y, sample_weight)
            finally:
                del self._task
        return self

    def _forward_pass_fast(self, X: Any, check_input: bool = True) -> np.ndarray:
        if check_input:
            X = validate_data(self, X, accept_sparse=["csr", "csc"], reset=False)
        return self._forward(X)

    def _forward(self, X: Any) -> np.ndarray:
        learned = self._learned
        return learned.kept.predictor(learned.take(self._network()), self.n_threads).rows(X)

    def _forward_plain(self, X: Any) -> np.ndarray | None:
        """The outputs for an array as it should be, without scikit-learn's validation, which takes
        longer than the network; None where that has something to say."""
        own = vars(self)
        if (
            type(X) is not np.ndarray
            or X.dtype not in PLAIN
            or X.shape != (len(X), own.get("n_features_in_"))
            or "_learned" not in own
            or "feature_names_in_" in own
        ):
            return None
        try:
            return self._forward(X)
        except ValueError:
            return None

    def _loss_grad_lbfgs(
        self, packed_coef_inter: np.ndarray, X: Any, y: Any, sample_weight: Any, *_: Any
    ) -> tuple[float, np.ndarray]:
        return self._objective(X, y, sample_weight)(packed_coef_inter)

    def _fit_lbfgs(self, X: Any, y: Any, sample_weight: Any, *_: Any) -> None:
        for name in ("optimizer", "callbacks", "dropout"):
            if np.any(getattr(self, name)):
                raise ValueError(f"{name} must come with solver='sgd' or 'adam', got 'lbfgs'")
        objective = self._objective(X, y, self._weights(y, sample_weight, np.arange(len(y))))
        iterations = None if self._task is None else Iterations(self._task, objective, self)
        result = lbfgs.minimize(
            objective if iterations is None else iterations.evaluate,
            np.concatenate([part.ravel() for part in (*self.coefs_, *self.intercepts_)]),
            None if iterations is None else iterations.ended,
            maxfun=self.max_fun,
            maxiter=self.max_iter,
            gtol=self.tol,
            **_get_additional_lbfgs_options_dict("iprint", 1 if self.verbose else -1),
        )
        if iterations is not None and iterations.stopped:
            self.n_iter_ = result.nit
        else:
            self.n_iter_ = _check_optimize_result("lbfgs", result, self.max_iter)
        self.loss_ = result.fun
        objective.take(result.x)
        self._learned.become(Parameters(self._network(), objective.theta))

    def _objective(self, X: Any, y: np.ndarray, weights: np.ndarray | None) -> lbfgs.Objective:
        """scikit-learn's loss and gradient of parameters in its order: coefs_, each (n_in, n_out),
        then intercepts_."""
        network = self._network()
        X, y = as_engine_pair(X, y, network)
        loss = MeanLoss(y, network, weights)
        total = len(y) if weights is None else weights.sum()
        constant = 0.0 if loss.constants is None else loss.constants.sum() / total
        W, b = views(network, np.arange(network.n_parameters))
        coefs = [part.T.ravel() for part in W]
        n_coefs = sum(map(len, coefs))
        decay = np.zeros(network.n_parameters)
        decay[:n_coefs] = self.alpha / total
        return lbfgs.Objective(
            new_engine(network),
            np.empty(network.n_parameters, network.dtype),
            *(X, y, weights, bound_threads(self.n_threads), decay),
            order=np.concatenate([*coefs, *(one for one in b if one is not None)]),
            share=loss.share,
            constant=constant,
        )

    def _rule(self, incremental: bool) -> Rule:
        """fastnn's name and numbers for the solver."""
        if self.optimizer is not None:
            optimizer = as_optimizer(self.optimizer, None)
            rate = optimizer.learning_rate
            if isinstance(optimizer, LBFGS):
                raise ValueError("optimizer must take steps; for L-BFGS use solver='lbfgs'")
            if isinstance(rate, Watching) and rate.column != "loss":
                raise ValueError(f"optimizer's learning rate must watch the loss, got {rate}")
            if incremental and getattr(rate, "by_epochs", False):
                raise ValueError(f"optimizer must not count epochs in partial_fit, got {rate}")
            decay = optimizer.weight_decay
            return Rule(optimizer.kind, optimizer.rates, rate, weight_decay=decay)
        rate = float(self.learning_rate_init)
        if self.solver == "adam":
            settings = {"beta1": self.beta_1, "beta2": self.beta_2, "epsilon_hat": self.epsilon}
            return Rule("adam", settings, rate)
        kind = "nesterov" if self.nesterovs_momentum else "momentum"
        return Rule(kind if self.momentum else "sgd", {"momentum": self.momentum}, rate)

    def _pace(self) -> BaseOptimizer:
        """scikit-learn's optimizer without parameters: it sets the learning rate between epochs,
        and decides and says that training stops."""
        if self.optimizer is not None or self.solver == "adam":
            return BaseOptimizer(self.learning_rate_init)
        return SGDOptimizer([], self.learning_rate_init, self.learning_rate, power_t=self.power_t)

    def _split(self, X: Any, y: np.ndarray, sample_weight: Any) -> tuple[np.ndarray, Any, Any, Any]:
        """The rows to train on; X, y (n, n_outputs) and sample weights to measure on."""
        rows = np.arange(len(y))
        if not self.early_stopping:
            return rows, None, None, None
        if self.validation_data is not None:
            return rows, *self._validation_data(), None
        rows, held_out = train_test_split(
            rows,
            random_state=self._random_state,
            test_size=self.validation_fraction,
            stratify=y if is_classifier(self) and self.n_outputs_ == 1 else None,
        )
        if len(held_out) < 2:
            raise ValueError(
                "The validation set is too small. Increase 'validation_fraction' or the size of "
                "your dataset."
            )
        weights = None if sample_weight is None else sample_weight[held_out]
        return rows, X[held_out], y[held_out], weights

    def _validation_data(self) -> tuple[Any, np.ndarray]:
        if len(self.validation_data) != 2:
            raise ValueError("validation_data must be a pair (X, y)")
        X, y = self.validation_data
        X = validate_data(self, X, accept_sparse=["csr", "csc"], reset=False)
        y = np.asarray(y)
        if is_classifier(self):
            unknown = np.setdiff1d(unique_labels(y), self.classes_)
            if len(unknown):
                raise ValueError(
                    f"y of validation_data must have labels of {self.classes_}, got {unknown}"
                )
            y = self._label_binarizer.transform(y)
        return X, y.reshape(len(y), -1)

    def _score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """What early stopping looks at after an epoch; X is a `Scored`, y the `Run`."""
        score: float = X.score(y)
        return score

    def _fit_stochastic(self, X: Any, y: Any, sample_weight: Any, *rest: Any) -> None:
        incremental = rest[-1]
        if self.early_stopping and incremental:
            raise ValueError("partial_fit does not support early_stopping=True")
        if self.validation_data is not None and not self.early_stopping:
            raise ValueError("validation_data must come with early_stopping=True")
        network, callbacks = self._network(), as_callbacks(self.callbacks or ())
        if self._task is not None:
            callbacks = (*callbacks, Epochs(self._task))
        begins = not incremental or not hasattr(self, "_optimizer")
        if begins:
            self._optimizer, self._kept = self._pace(), self._rule(incremental)
        rule, epochs = self._kept, 1 if incremental else self.max_iter
        rule.ridge = float(self.alpha)
        rows, *scored = self._split(X, y, sample_weight)
        weights = self._weights(y, sample_weight, rows)
        X, y = as_engine_pair(X, y, network)
        batch = min(200, len(rows)) if self.batch_size == "auto" else self.batch_size
        if batch > len(rows):
            warnings.warn(
                "Got `batch_size` less than 1 or larger than sample size. It is going to be "
                "clipped",
                stacklevel=2,
            )
            batch = len(rows)
        seed = int(self._random_state.randint(2**31 - 1)) if np.any(self.dropout) else 0
        plan = Plan(
            *(X, y, rows, rule, batch, weights, epochs, self.shuffle, seed), callbacks=callbacks
        )
        parameters = self._learned.take(network)
        if begins:  # with steps of its own
            parameters = self._learned.become(Parameters(network, parameters.weights()[1]))
        parameters.epoch = 0
        model = Model.__new__(Model)
        model._assemble(parameters, seed, {}, self.n_threads)
        threads = bound_threads(self.n_threads)
        self.n_iter_ = 0
        fit = Fit(model, epochs, callbacks, ["epoch", "loss", "val_score"], {})
        try:
            with parameters.training(rule.kind, batch, keep=False) as engine:
                run = loop.Run(parameters, engine, rule, batch, threads, seed, weights)
                run.begin_schedule(len(rows), epochs)
                loop.train(run, Course(plan, self, network, scored), fit)
            if not incremental and not fit.stopped:
                warnings.warn(
                    f"Stochastic Optimizer: Maximum iterations ({self.max_iter}) reached and the "
                    "optimization hasn't converged yet.",
                    ConvergenceWarning,
                    stacklevel=2,
                )
        except KeyboardInterrupt:
            warnings.warn("Training interrupted by user.", stacklevel=2)
        if self.early_stopping:
            self.coefs_ = [coef.copy() for coef in self._best_coefs]
            self.intercepts_ = [intercept.copy() for intercept in self._best_intercepts]


class Course(loop.Course):
    """scikit-learn's epochs: its shuffles, losses, scores, stopping and learning rates, which it
    keeps in the estimator's attributes."""

    def __init__(
        self, plan: Plan, estimator: Perceptron, network: NetworkSpec, scored: list[Any]
    ) -> None:
        super().__init__(plan)
        self.estimator = estimator
        self.order = plan.rows
        assert plan.y is not None
        self.loss = MeanLoss(plan.y, network, plan.weights)
        self.scored = None if scored[0] is None else Scored(network, *scored)

    def epoch(self, run: loop.Run, progress: Watcher | None) -> float:
        estimator, parameters = self.estimator, run.parameters
        if self.plan.shuffle:
            shuffled = np.arange(len(self.order))
            estimator._random_state.shuffle(shuffled)
            self.order = self.order[shuffled]
        try:
            loss = self.loss.of_epoch(run, self.plan.X, self.order)
        except DivergenceError as error:
            warnings.warn(f"Training diverged: {error}", ConvergenceWarning, stacklevel=2)
            loss = math.nan
            parameters.write(np.full(parameters.network.n_parameters, math.nan))
            run.load()
        estimator.loss_ = loss
        estimator.n_iter_ = parameters.epoch
        estimator.t_ += len(self.order)
        estimator.loss_curve_.append(loss)
        if estimator.verbose:
            print(f"Iteration {estimator.n_iter_}, loss = {loss:.8f}")
        return loss

    def measure(self, run: loop.Run) -> dict[str, float]:
        estimator = self.estimator
        estimator._update_no_improvement_count(estimator.early_stopping, self.scored, run, None)
        return {"val_score": estimator.validation_scores_[-1]} if self.scored is not None else {}

    def epoch_ended(self, run: loop.Run, fit: Fit) -> None:
        estimator, pace = self.estimator, self.estimator._optimizer
        pace.iteration_ends(estimator.t_)
        if math.isnan(estimator.loss_):
            fit.stop()
        if estimator._no_improvement_count > estimator.n_iter_no_change:
            what = "Validation score" if estimator.early_stopping else "Training loss"
            message = (
                f"{what} did not improve more than tol={estimator.tol:f} for "
                f"{estimator.n_iter_no_change} consecutive epochs."
            )
            if pace.trigger_stopping(message, estimator.verbose):
                fit.stop()
            else:
                estimator._no_improvement_count = 0
        self._follow(run, pace)

    def _follow(self, run: loop.Run, pace: BaseOptimizer) -> None:
        """scikit-learn's velocity is fastnn's times -learning_rate: when that changes, the velocity
        must not."""
        rule, rate = self.plan.rule, pace.learning_rate
        if isinstance(pace, SGDOptimizer) and rate != rule.learning_rate:
            velocity = run.parameters.state
            velocity *= rule.learning_rate / rate
            run.load()
            rule.learning_rate = rate
            run.begin_schedule(1, 1)


class Iterations:
    """L-BFGS's iterations as scikit-learn's callbacks are told of them."""

    def __init__(self, task: Task, objective: lbfgs.Objective, estimator: Perceptron) -> None:
        self.task, self.objective, self.estimator = task, objective, estimator
        self.iteration: Task | None = None
        self.stopped = False

    def evaluate(self, p: np.ndarray) -> tuple[float, np.ndarray]:
        if self.iteration is None:
            self.iteration = self.task.part("iteration").begins(lambda: self._fitted(p))
        return self.objective(p)

    def ended(self, result: Any) -> None:
        assert self.iteration is not None
        self.stopped = self.iteration.ends(lambda: self._fitted(result.x))
        self.iteration = None
        if self.stopped:
            raise StopIteration

    def _fitted(self, p: np.ndarray) -> dict[str, Any]:
        """The estimator's attribute that holds weights p."""
        learned, network = Learned(), self.estimator._network()
        theta = np.empty(network.n_parameters, network.dtype)
        theta[self.objective.order] = p
        learned.become(Parameters(network, theta))
        return {"_learned": learned}


class MeanLoss:
    """scikit-learn's mean loss of a mini-batch, from the engine's.

    Squared errors are a mean over the outputs, too; poisson's has a constant more, in which a
    perfect prediction has the loss 0; and to all comes ridge/2 sum W^2 / (sum of the weights).
    """

    def __init__(self, y: np.ndarray, network: NetworkSpec, weights: np.ndarray | None) -> None:
        self.y, self.weights = y, weights
        self.share = 1 / network.n_out if network.loss == "squared_error" else 1.0
        self.constants = None
        if network.loss == "poisson":
            constants = (xlogy(y, y) - y).sum(1, dtype=np.float64)
            self.constants = constants if weights is None else weights * constants

    def of_epoch(self, run: loop.Run, X: Any, order: np.ndarray) -> float:
        """Train on the rows; their mean loss, each mini-batch counting its rows."""
        rows = weights = loop.batch_weights(order, run.batch, None)
        each: Any = 1.0  # rows by weight, of each mini-batch
        if self.weights is not None:
            weights = loop.batch_weights(order, run.batch, self.weights)
            each = rows / np.where(weights, weights, np.inf)
        losses, squares = run.steps_over(X, self.y, order, weights)
        total = self.share * (losses * rows).sum()
        if self.constants is not None:
            total += (loop.batch_weights(order, run.batch, self.constants) * each).sum()
        if squares is not None:
            total += run.optimizer.rates["ridge"] / 2 * (squares * each).sum()
        return float(total / len(order))


class Scored:
    """The rows that early stopping measures on: accuracy (of several labels: all of them right), or
    R^2."""

    def __init__(
        self, network: NetworkSpec, X: Any, y: np.ndarray, weights: np.ndarray | None
    ) -> None:
        self.network, self.weights = network, weights
        self.X, self.y = as_engine_pair(X, y, network)

    def score(self, run: loop.Run) -> float:
        y, network = self.y, self.network
        f = evaluation.forward(run.engine, network, self.X, run.n_threads)
        if not np.isfinite(f).all():
            return math.nan
        if not network.decides:
            return r2(y, f, self.weights)
        right = classes(f, network.one_of_many) == y
        return float(np.average(right.reshape(len(y), -1).all(1), weights=self.weights))


def as_engine_pair(X: Any, y: np.ndarray, network: NetworkSpec) -> tuple[Features, np.ndarray]:
    """X and y as the engine takes them, from scikit-learn's y (n, n_outputs)."""
    y = y.argmax(1) if network.output == "softmax" else y
    return as_pair(X, y, network, to_train=True)


PLAIN = {np.dtype(np.float32), np.dtype(np.float64)}
CONSTRAINTS = {
    "activation": [StrOptions({"logistic", *ACTIVATIONS} - {"sigmoid"}), Activation, list, tuple],
    "n_threads": [Interval(Integral, 1, None, closed="left"), None],
    "dropout": [Interval(Real, 0, 1, closed="left"), list, tuple],
    "validation_data": [tuple, list, None],
    "callbacks": [list, tuple, None],
    "optimizer": [str, Optimizer, None],
}


class MLPClassifier(Perceptron, neural_network.MLPClassifier):
    """scikit-learn's MLPClassifier, trained and evaluated by fastnn.

    A drop-in: parameters, attributes, methods and random numbers are those of
    `sklearn.neural_network.MLPClassifier`, whose documentation holds. With float64 a fit gives its
    weights up to rounding; the same bits on every machine with FMA and for any number of threads.

    Parameters
    ----------
    hidden_layer_sizes, solver, alpha, ..., max_fun
        As of scikit-learn.
    activation : str, fastnn.LeakyReLU, fastnn.ELU or list of them, default "relu"
        Beside scikit-learn's names those of `fastnn.Model` ("logistic" being its "sigmoid"), and a
        list with one for each hidden layer.
    n_threads : int, optional
        At most so many threads; by default what affinity, cgroup quota and OMP_NUM_THREADS allow.
        Results do not depend on it.
    class_weight : "balanced", dict {class: weight} or list of dict, optional
        Multiplies the weights of a class's samples, as `sklearn.utils.class_weight` has it;
        "balanced" counts the rows trained on (of partial_fit: those of the call). The score of
        early_stopping is not weighted by it.
    dropout : float or list of float, default 0.0
        As of `fastnn.Model`: of all hidden layers, or of the inputs and each hidden layer. Not for
        lbfgs.
    validation_data : (X, y), optional
        What early_stopping measures on, in place of rows split off.
    callbacks : list of fastnn.Callback, optional
        They see the `fastnn.Fit`: its model, and a history with epoch, loss, val_score (with
        early_stopping), learning_rate and seconds. ``fit.stop()`` ends the fit as if converged.
        Copied by `sklearn.base.clone`. Not for lbfgs.
    optimizer : str or fastnn.Optimizer, optional
        Steps in place of solver's, with its own learning rate or schedule: "lion",
        ``fastnn.AdamW(0.002, clip_norm=1.0)``. alpha goes on shaping the loss; learning_rate,
        learning_rate_init, power_t, momentum, nesterovs_momentum, beta_1, beta_2 and epsilon are
        not used.

    Raises
    ------
    ValueError
        As scikit-learn, where weights end up not finite; the fit stops at the first mini-batch
        whose loss is not, with a ConvergenceWarning that names it.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from fastnn.sklearn import MLPClassifier
    >>> X, y = load_iris(return_X_y=True)
    >>> model = MLPClassifier((16,), learning_rate_init=0.02, random_state=0).fit(X, y)
    >>> model.predict(X[[0, 75, 149]])
    array([0, 1, 2])
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **neural_network.MLPClassifier._parameter_constraints,
        **CONSTRAINTS,
        "class_weight": [dict, list, StrOptions({"balanced"}), None],
    }

    def __init__(
        self,
        hidden_layer_sizes: Any = (100,),
        activation: Any = "relu",
        *,
        solver: Literal["lbfgs", "sgd", "adam"] = "adam",
        alpha: float = 0.0001,
        batch_size: int | Literal["auto"] = "auto",
        learning_rate: Literal["constant", "invscaling", "adaptive"] = "constant",
        learning_rate_init: float = 0.001,
        power_t: float = 0.5,
        max_iter: int = 200,
        shuffle: bool = True,
        random_state: Any = None,
        tol: float = 1e-4,
        verbose: bool = False,
        warm_start: bool = False,
        momentum: float = 0.9,
        nesterovs_momentum: bool = True,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        n_iter_no_change: int = 10,
        max_fun: int = 15000,
        n_threads: int | None = None,
        class_weight: Any = None,
        dropout: float | Sequence[float] = 0.0,
        validation_data: tuple[Any, Any] | None = None,
        callbacks: Sequence[Callback] | None = None,
        optimizer: OptimizerName | Optimizer | None = None,
    ) -> None:
        self.loss = "log_loss"
        self.__dict__.update({name: value for name, value in locals().items() if name != "self"})

    def predict(self, X: Any) -> Any:
        """As of scikit-learn: the classes, or of several labels 0 or 1 for each."""
        f = self._forward_plain(X)
        if f is None:
            return super().predict(X)
        binarizer = self._label_binarizer
        if type(binarizer) is LabelBinarizer and not binarizer.sparse_input_:
            if binarizer.y_type_ == "multiclass":
                return binarizer.classes_.take(f.argmax(1))
            if binarizer.y_type_ == "binary" and len(binarizer.classes_) == 2:
                return binarizer.classes_.take(f[:, 0] > 0.5)
        return binarizer.inverse_transform(f[:, 0] if self.n_outputs_ == 1 else f)

    def predict_proba(self, X: Any) -> Any:
        """As of scikit-learn: the probability of each class, or of each of several labels."""
        f = self._forward_plain(X)
        if f is None or self.n_outputs_ > 1:
            return super().predict_proba(X) if f is None else f
        return np.vstack([1 - f[:, 0], f[:, 0]]).T


class MLPRegressor(Perceptron, neural_network.MLPRegressor):
    """scikit-learn's MLPRegressor, trained and evaluated by fastnn.

    A drop-in: parameters, attributes, methods and random numbers are those of
    `sklearn.neural_network.MLPRegressor`, whose documentation holds. With float64 a fit gives its
    weights up to rounding; the same bits on every machine with FMA and for any number of threads.

    Parameters
    ----------
    loss, hidden_layer_sizes, solver, alpha, ..., max_fun
        As of scikit-learn.
    activation : str, fastnn.LeakyReLU, fastnn.ELU or list of them, default "relu"
        Beside scikit-learn's names those of `fastnn.Model` ("logistic" being its "sigmoid"), and a
        list with one for each hidden layer.
    n_threads : int, optional
        At most so many threads; by default what affinity, cgroup quota and OMP_NUM_THREADS allow.
        Results do not depend on it.
    dropout : float or list of float, default 0.0
        As of `fastnn.Model`: of all hidden layers, or of the inputs and each hidden layer. Not for
        lbfgs.
    validation_data : (X, y), optional
        What early_stopping measures on, in place of rows split off.
    callbacks : list of fastnn.Callback, optional
        They see the `fastnn.Fit`: its model, and a history with epoch, loss, val_score (with
        early_stopping), learning_rate and seconds. ``fit.stop()`` ends the fit as if converged.
        Copied by `sklearn.base.clone`. Not for lbfgs.
    optimizer : str or fastnn.Optimizer, optional
        Steps in place of solver's, with its own learning rate or schedule: "lion",
        ``fastnn.AdamW(0.002, clip_norm=1.0)``. alpha goes on shaping the loss; learning_rate,
        learning_rate_init, power_t, momentum, nesterovs_momentum, beta_1, beta_2 and epsilon are
        not used.

    Raises
    ------
    ValueError
        As scikit-learn, where weights end up not finite; the fit stops at the first mini-batch
        whose loss is not, with a ConvergenceWarning that names it.

    Examples
    --------
    >>> import numpy as np
    >>> from fastnn.sklearn import MLPRegressor
    >>> X = np.linspace(-1, 1, 50)[:, None]
    >>> model = MLPRegressor(hidden_layer_sizes=(16,), activation="tanh", solver="lbfgs",
    ...                      random_state=0).fit(X, np.sin(3 * X[:, 0]))
    >>> bool(model.score(X, np.sin(3 * X[:, 0])) > 0.99)
    True
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **neural_network.MLPRegressor._parameter_constraints,
        **CONSTRAINTS,
    }

    def __init__(
        self,
        loss: Literal["squared_error", "poisson"] = "squared_error",
        hidden_layer_sizes: Any = (100,),
        activation: Any = "relu",
        *,
        solver: Literal["lbfgs", "sgd", "adam"] = "adam",
        alpha: float = 0.0001,
        batch_size: int | Literal["auto"] = "auto",
        learning_rate: Literal["constant", "invscaling", "adaptive"] = "constant",
        learning_rate_init: float = 0.001,
        power_t: float = 0.5,
        max_iter: int = 200,
        shuffle: bool = True,
        random_state: Any = None,
        tol: float = 1e-4,
        verbose: bool = False,
        warm_start: bool = False,
        momentum: float = 0.9,
        nesterovs_momentum: bool = True,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        n_iter_no_change: int = 10,
        max_fun: int = 15000,
        n_threads: int | None = None,
        dropout: float | Sequence[float] = 0.0,
        validation_data: tuple[Any, Any] | None = None,
        callbacks: Sequence[Callback] | None = None,
        optimizer: OptimizerName | Optimizer | None = None,
    ) -> None:
        self.__dict__.update({name: value for name, value in locals().items() if name != "self"})

    def predict(self, X: Any) -> Any:
        """As of scikit-learn: the values, (n,) of a single output."""
        f = self._forward_plain(X)
        if f is None:
            return super().predict(X)
        return f.ravel() if f.shape[1] == 1 else f
