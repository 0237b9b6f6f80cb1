//! One seed's story.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use weir_log::{Discipline, FolderIdentity, LedgerState, LogSettings, Retention};
use weir_protocol::model::{Epoch, ShardId, ShardIndex, StreamId, Timestamp};
use weir_reactor::sim::{Crash, Dice, Faults, RunLimit, Sim, SimOptions};

use crate::judge::{Judge, RecordId};
use crate::ledger::Durable;
use crate::life::live;
use crate::rot;

/// What a story came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Lives of the server.
    pub lives: u32,
    /// Crashes among their ends.
    pub crashes: u32,
    /// Records acknowledged.
    pub acknowledged: u64,
    /// Records read and compared.
    pub compared: u64,
    /// Bits rotted and sectors zeroed.
    pub rotted: u32,
    /// Writes that landed elsewhere.
    pub misdirected: u32,
    /// Hash of every event: equal for equal seeds.
    pub trace: u64,
}

impl Tally {
    /// Adds another story's numbers.
    pub fn add(&mut self, other: Tally) {
        self.lives += other.lives;
        self.crashes += other.crashes;
        self.acknowledged += other.acknowledged;
        self.compared += other.compared;
        self.rotted += other.rotted;
        self.misdirected += other.misdirected;
    }
}

/// What may happen in a story.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Menu {
    /// What there was at first: seeds that found bugs then tell the same story for ever.
    First,
    /// Failing flushes, stalls and misdirected writes too, and what a catalog notes beside the log.
    Second,
    /// A slot may be struck by rot more than once between two lives.
    Whole,
    /// The whole menu, and no loss is excused: to see that there are some to excuse.
    NothingExcused,
    /// The whole menu, on a machine that forgets to flush folders: a bug planted for the judge.
    ForgottenFolderFlush,
    /// The whole menu, with flushes that fail in every recovery: a bug planted in what is done then shows
    /// in one life of thousands otherwise.
    FailingFlushes,
}

impl Menu {
    fn strikes_again(self) -> bool {
        !matches!(self, Self::First | Self::Second)
    }
}

/// What every life shares.
pub(crate) struct World {
    pub(crate) judge: RefCell<Judge>,
    pub(crate) durable: Durable,
    pub(crate) identity: FolderIdentity,
    pub(crate) shards: Vec<(ShardId, Retention)>,
    pub(crate) next_id: Cell<RecordId>,
    pub(crate) on_purpose: Cell<bool>,
    /// Expiry was called with this at most.
    pub(crate) expiry: Cell<Timestamp>,
    pub(crate) closed_cleanly: Cell<bool>,
    /// What a catalog notes beside the log.
    pub(crate) notes: Option<Notes>,
}

/// What a server's catalog knows of its last stop: a log cannot tell that its newest segment went
/// elsewhere, whole.
#[derive(Debug)]
pub(crate) struct Notes {
    /// The last life closed in good order.
    pub(crate) is_clean: Cell<bool>,
    /// The last epoch in which shards went on.
    pub(crate) epoch: Cell<Epoch>,
}

/// What one life is to do.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) incarnation: u64,
    pub(crate) settings: LogSettings,
    pub(crate) writers: u32,
    pub(crate) batches: u32,
    pub(crate) idle_at_end: bool,
    pub(crate) close: bool,
    pub(crate) faults: Faults,
    pub(crate) faults_in_recovery: bool,
    pub(crate) ledger_fails_one_in: u64,
}

/// How a life ended by itself.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    Done,
    /// Recovery or opening failed with a typed error.
    Refused(String),
}

/// Tells the story of `seed` under a discipline; an error is what went wrong.
pub fn run<D: Discipline>(seed: u64) -> Result<Tally, String> {
    tell::<D>(seed, Menu::Whole)
}

/// As [`run`], with another menu.
pub fn tell<D: Discipline>(seed: u64, menu: Menu) -> Result<Tally, String> {
    let mut dice = Dice::new(seed);
    // Draws of its own: what is new on the menu does not change what was there before.
    let mut more = Dice::new(!seed);
    let mut strikes = Dice::new(seed.rotate_left(32));
    let segment_bytes = 4096 * dice.between(20, 60);
    let capacity_bytes = if dice.below(6) == 0 {
        segment_bytes * 7
    } else {
        1 << 30
    };
    let sim = Sim::new(
        seed,
        SimOptions {
            capacity_bytes,
            faults: Faults::default(),
        },
    );
    if menu == Menu::ForgottenFolderFlush {
        sim.disk().forget_folder_flushes();
    }
    let world = Rc::new(new_world(&mut dice, segment_bytes, menu));
    let mut tally = Tally::default();
    let lives = dice.between(2, 6) as u32;
    for life in 0..=lives {
        let last = life == lives;
        let mut plan = new_plan(&mut dice, life, last);
        if menu != Menu::First && !last {
            add_the_rest(&mut more, &mut plan);
            if menu == Menu::FailingFlushes {
                fail_flushes(&mut more, &mut plan);
                plan.faults.misdirected_writes = 0;
            }
        }
        let limit = if last || dice.below(4) == 0 {
            RunLimit::done()
        } else if dice.below(5) == 0 {
            RunLimit::Steps(dice.between(1, 200))
        } else {
            RunLimit::Steps(dice.between(200, 4_000))
        };
        // A stall may outlast the wait in which an idle log writes its mark.
        let idle = plan.idle_at_end && plan.faults.stalls == 0;
        let faultless = plan.faults.write_errors == 0
            && plan.faults.read_errors == 0
            && plan.faults.create_errors == 0
            && plan.faults.flush_errors == 0
            && plan.ledger_fails_one_in == 0;
        world.closed_cleanly.set(false);
        tally.lives += 1;
        if is_verbose() {
            eprintln!("life {life}: {limit:?} {plan:?}");
        }
        let ending = sim.run(limit, live::<D>(sim.reactor(), Rc::clone(&world), plan));
        *sim.faults() = Faults::default();
        tally.misdirected = sim.misdirected();
        if let Some(what) = world.judge.borrow().failure() {
            let after = if world.on_purpose.get() {
                " [after damage]"
            } else {
                ""
            };
            return Err(format!("seed {seed}, life {life}: {what}{after}"));
        }
        if is_verbose() {
            eprintln!("life {life} ended: {ending:?}");
        }
        match &ending {
            Some(Ending::Refused(what))
                if faultless && !world.on_purpose.get() && capacity_bytes == 1 << 30 =>
            {
                return Err(format!(
                    "seed {seed}, life {life}: refused without a fault: {what}"
                ));
            }
            Some(Ending::Refused(_)) if world.on_purpose.get() => break,
            _ => {}
        }
        tally.crashes += 1;
        sim.crash(if dice.coin() {
            Crash::Kill
        } else {
            Crash::PowerCut
        });
        let covered = world.closed_cleanly.get()
            || (idle && faultless && capacity_bytes == 1 << 30 && ending == Some(Ending::Done));
        if world.on_purpose.get() && !covered {
            // No mark tells a frame that went elsewhere from one that was never written.
            world.judge.borrow_mut().forgive_losses();
        }
        if covered && dice.below(3) == 0 {
            let again = menu.strikes_again() && strikes.coin();
            let again = again.then_some(&mut strikes);
            tally.rotted += rot::strike(&sim, &mut dice, again, &world, menu);
            world.on_purpose.set(true);
        }
        if dice.below(8) == 0 {
            sim.jump_wall_clock(dice.between(0, 7_200_000).cast_signed() - 3_600_000);
        }
    }
    let judge = world.judge.borrow();
    tally.acknowledged = judge.acknowledged;
    tally.compared = judge.compared;
    tally.trace = sim.trace_hash();
    Ok(tally)
}

fn new_world(dice: &mut Dice, segment_bytes: u64, menu: Menu) -> World {
    let shards = (0..dice.between(1, 5) as u32)
        .map(|i| {
            let shard = ShardId::new(StreamId::new(u64::from(i / 3) + 1), ShardIndex(i % 3));
            let retention = match dice.below(5) {
                0 => Retention {
                    millis: dice.between(200, 3_000),
                    none_before: Timestamp::ZERO,
                    bytes: None,
                },
                1 => Retention {
                    millis: u64::MAX,
                    none_before: Timestamp::ZERO,
                    bytes: Some(dice.between(10, 100) * 1024),
                },
                _ => Retention::FOREVER,
            };
            (shard, retention)
        })
        .collect();
    World {
        judge: RefCell::new(Judge::default()),
        durable: Rc::new(RefCell::new(LedgerState::default())),
        identity: FolderIdentity {
            folder: dice.draw(),
            segment_bytes,
        },
        shards,
        next_id: Cell::new(1),
        on_purpose: Cell::new(false),
        expiry: Cell::new(Timestamp::ZERO),
        closed_cleanly: Cell::new(false),
        notes: (menu != Menu::First).then(|| Notes {
            is_clean: Cell::new(true),
            epoch: Cell::default(),
        }),
    }
}

fn new_plan(dice: &mut Dice, life: u32, last: bool) -> Plan {
    let mut faults = Faults::default();
    if !last {
        if dice.below(4) == 0 {
            faults.write_errors = dice.between(1, 60) as u32;
        }
        if dice.below(5) == 0 {
            faults.read_errors = dice.between(1, 60) as u32;
        }
        if dice.below(8) == 0 {
            faults.create_errors = dice.between(100, 5_000) as u32;
        }
        if dice.below(6) == 0 {
            faults.slow_operations = dice.between(1, 200) as u32;
        }
    }
    let faults_in_recovery = dice.below(3) == 0;
    let ledger_fails_one_in = if !last && dice.below(4) == 0 {
        dice.between(1, 6)
    } else {
        0
    };
    Plan {
        incarnation: u64::from(life) + 1,
        settings: LogSettings {
            incarnation: u64::from(life) + 1,
            tail_bytes: dice.between(0, 64) as usize * 1024,
            frame_bytes: 4096 * dice.between(2, 8) as usize,
            in_flight: dice.between(1, 4) as usize,
            free_segments_min: dice.between(1, 2) as usize,
            free_segments_max: dice.between(1, 3) as usize,
            reserve_segments: 0,
            disk_reserve_bytes: 0,
            footer_cache_bytes: dice.between(0, 20) as usize * 1024,
        },
        writers: dice.between(1, 4) as u32,
        batches: dice.between(5, 60) as u32,
        idle_at_end: dice.coin(),
        close: dice.below(3) == 0,
        faults,
        faults_in_recovery,
        ledger_fails_one_in,
    }
}

/// What the first menu did not have.
fn add_the_rest(more: &mut Dice, plan: &mut Plan) {
    // Not both: a recovery that cannot read comes to no flush.
    if more.below(4) == 0 {
        fail_flushes(more, plan);
    } else if more.below(8) == 0 {
        plan.faults.read_errors = more.between(500, 3_000) as u32;
        plan.faults_in_recovery = true;
    }
    if more.below(6) == 0 {
        plan.faults.stalls = more.between(1, 100) as u32;
    }
    if more.below(10) == 0 {
        plan.faults.misdirected_writes = more.between(20, 500) as u32;
        plan.faults_in_recovery = false;
    }
}

fn fail_flushes(more: &mut Dice, plan: &mut Plan) {
    plan.faults.flush_errors = more.between(2_000, 6_000) as u32;
    plan.faults.read_errors = 0;
    plan.faults_in_recovery = true;
}

/// Whether lives are to be told to whoever looks for a bug.
pub(crate) fn is_verbose() -> bool {
    std::env::var_os("WEIR_SIM_VERBOSE").is_some()
}
