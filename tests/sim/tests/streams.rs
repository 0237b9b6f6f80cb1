//! Whole servers in bulk: streams, catalog, routing, several cores.

use tests_sim::story::Tally;
use tests_sim::streams;

/// Seeds of the gate; `WEIR_SIM_SEEDS` and `WEIR_SIM_FROM` ask for others.
fn seeds() -> std::ops::Range<u64> {
    let read = |name: &str, default: u64| {
        let asked = std::env::var(name).ok();
        asked.map_or(default, |v| v.parse().expect("a number of seeds"))
    };
    let from = read("WEIR_SIM_FROM", 0);
    from..from + read("WEIR_SIM_SEEDS", 2_000)
}

#[test]
fn streams_keep_what_they_promise() {
    let mut total = Tally::default();
    for seed in seeds() {
        let told = streams::run(seed);
        total.add(told.unwrap_or_else(|what| {
            panic!("{what}\nreplay: tests-sim --story streams --from {seed} --seeds 1")
        }));
    }
    println!("{} seeds: {total:?}", seeds().count());
    assert!(total.acknowledged > 0 && total.compared > 0);
}

/// The wall clock was set back an hour, and records of shards that were new then were stamped with
/// an hour that had already expired: they were gone at once. The seeds beyond a million: stamps behind
/// the expiry clock of another core or of the life before, shards that went on in unlike epochs, stamps
/// behind what a longer retention keeps expired.
#[test]
fn seeds_that_found_bugs_stay_green() {
    for seed in [
        4, 12, 20, 32, 43, 97, 124, 1_002_147, 1_005_622, 1_020_344, 1_022_929, 1_026_549,
        1_041_525, 1_058_286, 2_013_669, 2_021_837, 2_030_836, 2_096_727,
    ] {
        streams::run(seed).unwrap_or_else(|what| panic!("{what}"));
    }
}

#[test]
fn the_same_seed_is_the_same_run() {
    for seed in 0..25 {
        assert_eq!(streams::run(seed), streams::run(seed), "seed {seed}");
    }
}
