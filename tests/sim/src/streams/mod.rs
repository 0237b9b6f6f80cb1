//! The second story: whole servers, with streams, a catalog, routing and several cores.

mod judge;
mod life;
mod look;
mod operate;

use std::cell::{Cell, RefCell};
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use weir_reactor::sim::{Crash, Dice, Faults, PlainFaults, RunLimit, Sim, SimDisk, SimOptions};
use weir_stream::{EngineMemory, FolderOptions, QuotaSwitch};

use crate::judge::RecordId;
use crate::story::{Tally, is_verbose};
use judge::Judge;
use life::{Ending, live};

const SEGMENT_BYTES: u64 = 128 << 10;
const HOUR_MS: i64 = 3_600_000;

/// What every life shares.
struct World {
    judge: RefCell<Judge>,
    disk: SimDisk,
    next_id: Cell<RecordId>,
    /// Retentions that streams of this story have, in milliseconds.
    retentions: Vec<u64>,
    jumped_back: Cell<bool>,
    closed: Cell<bool>,
}

impl World {
    fn next_id(&self) -> RecordId {
        self.next_id.replace(self.next_id.get() + 1)
    }

    fn retention(&self, draw: u64) -> u64 {
        self.retentions[(draw % self.retentions.len() as u64) as usize]
    }
}

/// What one life is to do.
#[derive(Debug, Clone)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "independent switches, each named"
)]
struct Plan {
    options: FolderOptions,
    writers: u32,
    readers: u32,
    lasts: Duration,
    /// By how much the wall clock jumps in the middle of it.
    jumps: Option<i64>,
    is_full_for_a_while: bool,
    /// The catalog's disk fails after so many changes.
    catalog_stops_after: Option<u64>,
    /// What else goes wrong with the catalog's disk, and whether it does so in recovery and while the
    /// server closes.
    catalog: PlainFaults,
    catalog_faults_in_recovery: bool,
    catalog_faults_in_close: bool,
    faults: Faults,
    faults_in_recovery: bool,
    close: bool,
    is_last: bool,
}

impl Plan {
    /// Whether all that went wrong is forgiven without a restart: a log that failed thrice is not.
    fn leaves_all_alive(&self) -> bool {
        let Faults {
            write_errors,
            flush_errors,
            misdirected_writes,
            ..
        } = self.faults;
        self.is_last || write_errors + flush_errors + misdirected_writes == 0
    }
}

/// What may happen in a story.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Menu {
    /// What there was at first: seeds that found bugs then tell the same story for ever.
    First,
    /// The catalog's disk fails in every way, too.
    Whole,
    /// The whole menu, on a machine that forgets to flush the catalog: a bug planted for the judge.
    ForgottenCatalogSync,
}

/// Tells the story of `seed`; an error is what went wrong.
pub fn run(seed: u64) -> Result<Tally, String> {
    tell(seed, Menu::Whole)
}

/// As [`run`], with another menu.
pub fn tell(seed: u64, menu: Menu) -> Result<Tally, String> {
    let mut dice = Dice::new(seed.rotate_left(32));
    // Draws of its own: what is new on the menu does not change what was there before.
    let mut more = Dice::new(!seed);
    let sim = Sim::new(seed, SimOptions::default());
    if menu == Menu::ForgottenCatalogSync {
        sim.disk().forget_plain_syncs();
    }
    let retentions = if dice.coin() {
        vec![1_000, 3_000, 10_000]
    } else {
        vec![5_000, 86_400_000, 7 * 86_400_000]
    };
    let world = Rc::new(World {
        judge: RefCell::default(),
        disk: sim.disk(),
        next_id: Cell::new(1),
        retentions,
        jumped_back: Cell::new(false),
        closed: Cell::new(false),
    });
    let mut tally = Tally::default();
    let lives = dice.between(2, 4) as u32;
    let mut jumps = Vec::new();
    for life in 0..lives {
        let is_last = life + 1 == lives;
        let mut plan = new_plan(&mut dice, is_last);
        if menu != Menu::First && !is_last {
            spoil_catalog(&mut more, &mut plan);
        }
        jumps.extend(plan.jumps);
        if plan.jumps.is_some_and(|millis| millis < 0) {
            world.jumped_back.set(true);
        }
        if plan.faults.misdirected_writes > 0 {
            world.judge.borrow_mut().forgives = true;
        }
        let limit = if is_last || dice.below(3) == 0 {
            RunLimit::done()
        } else if dice.below(4) == 0 {
            RunLimit::Steps(dice.between(1, 300))
        } else {
            RunLimit::Steps(dice.between(300, 6_000))
        };
        let is_quiet = !plan.faults_in_recovery && !plan.catalog_faults_in_recovery;
        tally.lives += 1;
        if is_verbose() {
            eprintln!("life {life}: {limit:?} {plan:?}");
        }
        let ending = sim.run(limit, live(sim.reactor(), Rc::clone(&world), plan));
        if is_verbose() {
            eprintln!("life {life} ended: {ending:?}");
        }
        *sim.faults() = Faults::default();
        tally.misdirected = sim.misdirected();
        if let Some(what) = world.judge.borrow().failure() {
            let back = world.jumped_back.get();
            return Err(format!(
                "seed {seed}, life {life}: {what} [jumps {jumps:?}, back {back}]"
            ));
        }
        if let Some(Ending::Refused(what)) = ending {
            if world.judge.borrow().forgives {
                break;
            }
            if is_quiet {
                return Err(format!("seed {seed}, life {life}: refused: {what}"));
            }
        }
        tally.crashes += u32::from(!world.closed.replace(false));
        sim.crash(if dice.coin() {
            Crash::Kill
        } else {
            Crash::PowerCut
        });
        if dice.below(8) == 0 {
            let millis = jump(&mut dice);
            jumps.push(millis);
            world.jumped_back.set(world.jumped_back.get() || millis < 0);
            sim.jump_wall_clock(millis);
        }
    }
    let judge = world.judge.borrow();
    tally.acknowledged = judge.acknowledged;
    tally.compared = judge.compared;
    tally.trace = sim.trace_hash();
    Ok(tally)
}

/// An hour either way, or ten years ahead.
fn jump(dice: &mut Dice) -> i64 {
    match dice.below(3) {
        0 => HOUR_MS,
        1 => -HOUR_MS,
        _ => 10 * 365 * 24 * HOUR_MS,
    }
}

fn new_plan(dice: &mut Dice, is_last: bool) -> Plan {
    let cores = dice.between(1, 3) as usize;
    let quota = match dice.below(4) {
        0 => QuotaSwitch::Aws,
        1 => QuotaSwitch::Mode,
        _ => QuotaSwitch::Off,
    };
    let options = FolderOptions {
        path: PathBuf::from("data"),
        cores,
        segment_bytes: Some(SEGMENT_BYTES),
        memory: EngineMemory::default(),
        reserve_bytes: 0,
        quota,
        state_delay: Duration::from_millis(dice.between(0, 20)),
        account: "000000000000".to_owned(),
        region: "us-east-1".to_owned(),
    };
    let mut faults = Faults::default();
    let mut chance = |one_in: u64, low: u64, high: u64| {
        let draw = dice.between(low, high) as u32;
        if dice.below(one_in) == 0 { draw } else { 0 }
    };
    faults.write_errors = chance(4, 1, 60);
    faults.read_errors = chance(5, 1, 200);
    faults.flush_errors = chance(6, 1_000, 6_000);
    faults.create_errors = chance(8, 100, 5_000);
    faults.slow_operations = chance(6, 1, 200);
    faults.stalls = chance(8, 1, 100);
    faults.misdirected_writes = chance(16, 20, 500);
    if is_last {
        // A log that failed thrice stays read-only until a restart: this is the restart.
        faults = Faults::default();
    }
    Plan {
        options,
        writers: dice.between(1, 4) as u32,
        readers: dice.between(1, 3) as u32,
        lasts: Duration::from_millis(dice.between(20, 400)),
        jumps: (dice.below(5) == 0).then(|| jump(dice)),
        is_full_for_a_while: dice.below(6) == 0,
        catalog: PlainFaults::default(),
        catalog_faults_in_recovery: false,
        catalog_faults_in_close: false,
        catalog_stops_after: (!is_last && dice.below(8) == 0).then(|| dice.between(0, 100)),
        faults_in_recovery: !is_last && dice.below(4) == 0,
        faults,
        close: dice.below(3) == 0,
        is_last,
    }
}

/// The catalog's disk fails in one or two ways, or ends the life amid an operation.
fn spoil_catalog(more: &mut Dice, plan: &mut Plan) {
    for _ in 0..more.between(0, 2) {
        let faults = &mut plan.catalog;
        let chance = more.between(10, 2_000) as u32;
        match more.below(8) {
            // Lives change some dozens or some thousands of times.
            0..3 => {
                let most = 10_u64.pow(more.between(1, 3) as u32);
                faults.ends_amid = Some(more.below(2 * most));
            }
            3 | 4 => faults.sync_errors = chance,
            5 => faults.write_errors = chance,
            6 => faults.read_errors = chance,
            _ => faults.full_errors = chance * 5,
        }
    }
    plan.catalog_faults_in_recovery = more.below(3) == 0;
    plan.catalog_faults_in_close = more.coin();
}
