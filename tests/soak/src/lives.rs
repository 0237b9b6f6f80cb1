//! Lives under load that end badly, one after the other in one scene: what `kill` and `cut` share.

use anyhow::{Context, Result, bail};

use crate::rig::{Done, Order};
use crate::scene::Tally;

/// Lives of one scene; then a new one, so that disk and ledger stay small.
const LIVES: u64 = 10;

/// What lives came to.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Lives {
    pub(crate) ended: u64,
    /// Starts, beside these, that were ended in recovery.
    pub(crate) in_recovery: u64,
    /// Starts that were to be, and had said that they were ready.
    pub(crate) too_late: u64,
    pub(crate) tally: Tally,
}

impl Lives {
    /// A start was ended; whether it was still in recovery.
    pub(crate) fn count_start(&mut self, in_recovery: bool) {
        *if in_recovery {
            &mut self.in_recovery
        } else {
            &mut self.too_late
        } += 1;
    }
}

/// Tells series after series until as many lives have ended as were ordered. A series takes its seed
/// and count, and whether the bug that the rig is proven on is planted in it.
pub(crate) fn run(
    rig: &str,
    order: &Order,
    planted: &str,
    series: impl Fn(&Order, bool) -> Result<Lives>,
) -> Result<Done> {
    prove(order.seed, planted, &series).with_context(|| format!("{rig} was not proven"))?;
    let mut all = Lives::default();
    let mut seed = order.seed;
    while all.ended < order.count && !order.is_over() {
        let count = LIVES.min(order.count - all.ended);
        let until = order.until;
        let lives = series(&Order { seed, count, until }, false).with_context(|| {
            format!("replay: ./scripts/soak {rig} --seed {seed} --count {count}")
        })?;
        all.ended += lives.ended;
        all.in_recovery += lives.in_recovery;
        all.too_late += lives.too_late;
        all.tally.add(lives.tally);
        seed += 1;
    }
    let note = format!(
        "{} more in recovery and {} right after it, {} batches acknowledged, {} records judged, {} batches durable before \
         their answer, 0 lost; proven on {planted}",
        all.in_recovery,
        all.too_late,
        all.tally.acknowledged,
        all.tally.records,
        all.tally.unpromised
    );
    Ok(Done::new(all.ended, note))
}

/// The planted bug loses what was acknowledged, and must be found out.
fn prove(seed: u64, planted: &str, series: impl Fn(&Order, bool) -> Result<Lives>) -> Result<()> {
    let order = Order {
        seed,
        count: 4,
        until: None,
    };
    match series(&order, true) {
        Ok(_) => bail!("{planted}, and four lives do not show it"),
        Err(wrong) if format!("{wrong:#}").contains("lost: ") => Ok(()),
        Err(wrong) => Err(wrong.context("while the rig was proven on a planted bug")),
    }
}
