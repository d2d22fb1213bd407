//! Short runs of the proofs that commands of `tests/harness` run for long.

use crate::proof::damage::{Kind, Subject, Tally};
use crate::proof::{Chance, faults, power, rush, seed, seeded};

#[tokio::test(flavor = "multi_thread")]
async fn a_power_loss_at_any_change_loses_nothing_acknowledged() {
    let seed = seed();
    let n_changes = power::n_changes().await.unwrap();
    let mut tally = power::Tally::default();
    // Each run takes other changes, as the seed says.
    const STEP: u64 = 16;
    let mut n = seed % STEP;
    while n <= n_changes {
        seeded(seed, power::run(n, seed, &mut tally).await).unwrap_or_else(|e| panic!("at change {n}: {e}"));
        n += STEP;
    }
    println!("{tally:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_has_every_acknowledged_row_once_while_all_else_goes_on() {
    let tally = rush::run(40).await.unwrap();
    assert!(tally.n_rows > 0 && tally.n_answers > 0 && tally.n_seals > 1 && tally.n_merges > 0, "{tally:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_torn_end_of_the_log_leaves_what_came_before() {
    let subject = Subject::new().await.unwrap();
    let step = 1 + subject.tail_bytes() / 40;
    for len in (seed() % step..subject.tail_bytes()).step_by(step as usize) {
        subject.tear(len).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_is_met_without_a_wrong_or_silently_missing_row() {
    let seed = seed();
    let chance = &mut Chance::new(seed);
    let subject = Subject::new().await.unwrap();
    let bytes = subject.bytes();
    for kind in Kind::ALL {
        let mut tally = Tally::default();
        for _ in 0..10 {
            let bit = chance.below(bytes[&kind] * 8);
            seeded(seed, subject.flip(kind, bit, &mut tally).await).unwrap();
        }
        if kind != Kind::Catalog {
            for _ in 0..2 {
                seeded(seed, subject.cut(kind, chance, &mut tally).await).unwrap();
            }
        }
        println!("{kind:?}: {tally:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_fails_once_is_lived_with() {
    const STEP: u64 = 5;
    let seed = seed();
    for kind in faults::Kind::ALL {
        let mut tally = faults::Tally::default();
        let mut after = seed % STEP;
        while faults::once(kind, after, &mut tally).await.unwrap_or_else(|e| panic!("{kind:?} {after}: {e}"))
        {
            after += STEP;
        }
        assert!(tally.n_faults > 0, "{kind:?} never came");
        println!("{kind:?}: {tally:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_refuses_until_there_is_room_and_reads_go_on() {
    for free_bytes in [0, 999] {
        faults::full_for_a_while(free_bytes).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_cannot_be_read_are_out_of_answers_which_say_so() {
    assert!(faults::unreadable().await.unwrap() >= 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_that_fails_once_is_no_damage() {
    let mut n_came = 0;
    for n in 0..8 {
        n_came += u32::from(faults::read_error(n).await.unwrap_or_else(|e| panic!("read {n}: {e}")));
    }
    assert!(n_came > 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_stands_still_makes_senders_wait_and_loses_nothing() {
    faults::standing_still().await.unwrap();
}
