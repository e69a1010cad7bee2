//! Rounds, medians and the table.

/// Who takes part, and what it measured in each round.
pub(crate) struct Contestant<'a> {
    pub(crate) name: &'static str,
    measure: Box<dyn FnMut() -> f64 + 'a>,
    rounds: Vec<f64>,
}

impl<'a> Contestant<'a> {
    pub(crate) fn new(name: &'static str, measure: impl FnMut() -> f64 + 'a) -> Self {
        Contestant { name, measure: Box::new(measure), rounds: Vec::new() }
    }
}

/// Lets everybody measure in turn; the order moves on from round to round. The first round is for
/// warming up and does not count.
pub(crate) fn run(rounds: usize, contestants: &mut [Contestant<'_>]) {
    for round in 0..=rounds {
        for turn in 0..contestants.len() {
            let n = (round + turn) % contestants.len();
            let contestant = &mut contestants[n];
            let value = (contestant.measure)();
            if round > 0 {
                contestant.rounds.push(value);
            }
        }
    }
}

/// Prints everybody beside the first one, and returns the ratios `first / other`.
pub(crate) fn print(
    title: &str,
    unit: &str,
    ratio: &str,
    contestants: &[Contestant<'_>],
) -> Vec<f64> {
    println!("| {title} | {unit} | lowest – highest round | {ratio} |");
    println!("|---|---|---|---|");
    let first = &contestants[0];
    let mut ratios = Vec::new();
    for contestant in contestants {
        let beside = first.rounds.iter().zip(&contestant.rounds).map(|(a, b)| a / b);
        let beside = median(beside.collect());
        let low = contestant.rounds.iter().copied().fold(f64::INFINITY, f64::min);
        let high = contestant.rounds.iter().copied().fold(0.0, f64::max);
        println!(
            "| {} | {} | {} – {} | {beside:.2} |",
            contestant.name,
            figure(median(contestant.rounds.clone())),
            figure(low),
            figure(high),
        );
        ratios.push(beside);
    }
    ratios
}

/// Three digits, or all of a large number.
fn figure(value: f64) -> String {
    match value {
        v if v < 10.0 => format!("{v:.2}"),
        v if v < 100.0 => format!("{v:.1}"),
        v => format!("{v:.0}"),
    }
}

/// The one in the middle; the upper one of two.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
