//! Seeds in bulk, and the proof that the rig catches bugs.

use tests_sim::story::Menu;
use tests_sim::{planted, story};
use weir_log::{Discipline, Sound};

/// Seeds of the gate; `WEIR_SIM_SEEDS` and `WEIR_SIM_FROM` ask for others.
fn seeds() -> std::ops::Range<u64> {
    let read = |name: &str, default: u64| {
        std::env::var(name)
            .ok()
            .map_or(default, |v| v.parse().expect("a number of seeds"))
    };
    let from = read("WEIR_SIM_FROM", 0);
    from..from + read("WEIR_SIM_SEEDS", 2_000)
}

#[test]
fn nothing_acknowledged_is_lost_and_nothing_damaged_is_served() {
    let mut total = story::Tally::default();
    for seed in seeds() {
        let tally = story::run::<Sound>(seed).unwrap_or_else(|what| {
            panic!("{what}\nreplay: WEIR_SIM_FROM={seed} WEIR_SIM_SEEDS=1 cargo test -p tests-sim")
        });
        total.add(tally);
    }
    println!("{} seeds: {total:?}", seeds().count());
    assert!(
        total.acknowledged > 0 && total.compared > 0,
        "stories must do something"
    );
}

/// Seeds that once found a bug, beyond the gate's range: numbers handed out before the epoch that
/// they belong to was durable, the only note of an epoch wiped while a log was reopened, a log that
/// could not write its first header.
#[test]
fn seeds_that_found_bugs_stay_green() {
    for seed in [12_463, 13_493, 14_051, 14_758, 15_264, 16_471, 17_661] {
        let told = story::tell::<Sound>(seed, Menu::First);
        told.unwrap_or_else(|what| panic!("{what}"));
    }
}

/// As above, told with the second menu: sealed segments cut as torn, a reused slot's stale trailer
/// taken for its own, numbers of an epoch that another log had already passed, a lost header and first
/// frame that the mark of the only frame left spoke of.
/// Beyond two million: a recovery that died after it voided the newest segment, and left a clean stop to
/// be seen; segments that went elsewhere whole; an idle mark behind a stalled disk;
/// a cut segment whose footer was torn, and with it the word that what followed was void.
#[test]
fn later_seeds_that_found_bugs_stay_green() {
    for seed in [
        1_000_853, 1_001_571, 1_001_900, 1_017_455, 1_017_947, 1_027_457, 1_043_853, 1_048_141,
        1_053_835, 1_054_582, 1_060_701, 1_066_430, 1_066_594, 1_067_480, 2_022_899, 2_071_538,
        2_147_884, 2_160_820, 2_260_947, 2_281_246, 2_402_628, 2_443_061,
    ] {
        let told = story::tell::<Sound>(seed, Menu::Second);
        told.unwrap_or_else(|what| panic!("{what}"));
    }
}

/// A header, a footer and all frames of a shard struck in the only segment: nothing left in the log names
/// the shard, and it is not told. What the catalog knows would tell of it; the log does not ask yet.
#[test]
fn shards_that_nothing_names_are_known_to_go_untold() {
    for seed in [6_005_482, 6_005_734] {
        story::run::<Sound>(seed).unwrap_or_else(|what| panic!("{what}"));
    }
}

#[test]
fn the_same_seed_is_the_same_run() {
    for seed in 0..25 {
        assert_eq!(
            story::run::<Sound>(seed),
            story::run::<Sound>(seed),
            "seed {seed}"
        );
    }
}

/// Looks for a seed that catches the bug.
fn caught<D: Discipline>(seeds: u64) -> String {
    caught_on::<D>(seeds, Menu::Whole)
}

fn caught_on<D: Discipline>(seeds: u64, menu: Menu) -> String {
    (0..seeds)
        .find_map(|seed| {
            // The log's own assertions may see the bug before the judge does.
            std::panic::catch_unwind(|| story::tell::<D>(seed, menu))
                .unwrap_or_else(|_| Err(format!("seed {seed}: an assertion of the log")))
                .err()
        })
        .unwrap_or_else(|| panic!("not caught in {seeds} seeds"))
}

#[test]
fn acknowledging_before_the_write_completes_is_caught() {
    println!("{}", caught::<planted::AcknowledgeEarly>(500));
}

#[test]
fn skipping_the_checksum_on_reads_is_caught() {
    println!("{}", caught::<planted::SkipChecksum>(1_000));
}

#[test]
fn cutting_below_the_mark_is_caught() {
    println!("{}", caught::<planted::CutBelowMark>(2_000));
}

#[test]
fn going_on_without_a_new_incarnation_is_caught() {
    println!("{}", caught::<planted::SameIncarnation>(500));
}

#[test]
fn serving_before_the_recovery_flush_is_caught() {
    println!("{}", caught::<planted::ServeUnflushed>(1_000));
}

#[test]
fn flushes_that_fail_in_every_recovery_lose_nothing() {
    for seed in 0..1_200 {
        let told = story::tell::<Sound>(seed, Menu::FailingFlushes);
        told.unwrap_or_else(|what| panic!("{what}"));
    }
}

#[test]
fn ignoring_a_failed_flush_is_caught() {
    println!(
        "{}",
        caught_on::<planted::IgnoreFlushError>(4_000, Menu::FailingFlushes)
    );
}

#[test]
fn trying_a_failed_flush_again_is_caught() {
    println!(
        "{}",
        caught_on::<planted::RetryFlush>(4_000, Menu::FailingFlushes)
    );
}

#[test]
fn serving_what_is_not_durable_is_caught() {
    println!("{}", caught::<planted::ServeUndurable>(500));
}

#[test]
fn handing_out_numbers_of_a_lost_tail_again_is_caught() {
    println!("{}", caught::<planted::ReuseNumbers>(500));
}

#[test]
fn deleting_one_segment_early_is_caught() {
    println!("{}", caught::<planted::DeleteEarly>(2_000));
}

#[test]
fn accepting_a_short_frame_is_caught() {
    println!("{}", caught::<planted::AcceptShortFrame>(500));
}

#[test]
fn taking_a_read_error_for_a_tear_is_caught() {
    println!("{}", caught::<planted::ReadErrorIsTear>(1_000));
}

/// The flush of the folder lies below the log, in what makes files: so this bug is planted there.
#[test]
fn forgetting_to_flush_the_folder_is_caught() {
    println!("{}", caught_on::<Sound>(500, Menu::ForgottenFolderFlush));
}

/// A frame and every mark that covers it are struck in some round: without the rule that excuses it, a
/// sound log is blamed.
#[test]
fn what_was_struck_with_its_marks_is_missed_unless_excused() {
    println!("{}", caught_on::<Sound>(3_000, Menu::NothingExcused));
}
