//! Rounds in which all take their turn, medians, and the goals that the ratios are held against.

/// What is asked of a ratio, or of the pool's own figure.
#[derive(Clone, Copy)]
pub(crate) enum Goal {
    AtMost(f64),
    AtLeast(f64),
}

impl Goal {
    pub(crate) fn met(self, value: f64) -> bool {
        match self {
            Goal::AtMost(most) => value <= most,
            Goal::AtLeast(least) => value >= least,
        }
    }

    pub(crate) fn text(self) -> String {
        match self {
            Goal::AtMost(most) => format!("≤ {most}"),
            Goal::AtLeast(least) => format!("≥ {least}"),
        }
    }
}

/// Who takes part, and what it measured in each round.
pub(crate) struct Contestant<'a> {
    pub(crate) name: String,
    /// Held against pool ÷ this; for the pool itself against its own figure.
    pub(crate) goal: Option<Goal>,
    /// No peer: what the machine asks for the like, whoever does it.
    pub(crate) is_floor: bool,
    pub(crate) rounds: Vec<f64>,
    measure: Box<dyn FnMut() -> f64 + 'a>,
}

impl<'a> Contestant<'a> {
    pub(crate) fn new(name: impl Into<String>, measure: impl FnMut() -> f64 + 'a) -> Self {
        let measure = Box::new(measure);
        Contestant { name: name.into(), goal: None, is_floor: false, rounds: Vec::new(), measure }
    }

    /// Somebody who was measured elsewhere.
    pub(crate) fn measured(name: impl Into<String>, rounds: Vec<f64>) -> Self {
        Contestant { rounds, ..Contestant::new(name, || f64::NAN) }
    }

    pub(crate) fn goal(mut self, goal: Goal) -> Self {
        self.goal = Some(goal);
        self
    }

    pub(crate) fn floor(mut self) -> Self {
        self.is_floor = true;
        self
    }

    pub(crate) fn median(&self) -> f64 {
        median(self.rounds.clone())
    }
}

/// Lets everybody measure in turn; the order moves on from round to round. The first `warm_up`
/// rounds do not count.
pub(crate) fn run(warm_up: usize, rounds: usize, contestants: &mut [Contestant<'_>]) {
    for round in 0..warm_up + rounds {
        for turn in 0..contestants.len() {
            let n = (round + turn) % contestants.len();
            let contestant = &mut contestants[n];
            let value = (contestant.measure)();
            if round >= warm_up {
                contestant.rounds.push(value);
            }
        }
    }
}

/// The ratios first ÷ this, a round each.
pub(crate) fn ratios(first: &[f64], this: &[f64]) -> Vec<f64> {
    first.iter().zip(this).map(|(a, b)| a / b).collect()
}

/// The one in the middle; the upper one of two.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// "lowest – highest".
pub(crate) fn spread(values: &[f64]) -> String {
    let low = values.iter().copied().fold(f64::INFINITY, f64::min);
    let high = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    format!("{} – {}", figure(low), figure(high))
}

/// Three digits, or all of a large number.
pub(crate) fn figure(value: f64) -> String {
    match value {
        0.0 => "0".into(),
        v if v.is_nan() => "–".into(),
        v if v < 1.0 => format!("{v:.3}"),
        v if v < 10.0 => format!("{v:.2}"),
        v if v < 100.0 => format!("{v:.1}"),
        v => format!("{v:.0}"),
    }
}
