//! The archive fixes the order: whatever order the chains arrived in, replaying what was accepted gives the same state.

use proptest::prelude::*;
use sharetrail_proof::acceptance::{LogState, Rejection, Verdict};
use sharetrail_proof::frame::Frame;

use crate::support::{Ledger, Log, chain, key_registered, party, signer};

const PRODUCERS: [&str; 3] = ["crm", "shop", "till"];
const BATCHES: usize = 6;

/// What a bus may do with the frames of a chain.
#[derive(Clone, Copy, Debug)]
enum Step {
    Deliver,
    Repeat,
    SkipOne,
}

/// A log that knows the producers, and for each of them the frames of one chain.
fn prepared() -> (Log, Vec<Vec<Vec<u8>>>) {
    let mut ledger = Ledger::empty(1);
    for who in PRODUCERS {
        ledger.register(&[(who, party()), (who, key_registered(&signer(who, who)))]);
    }
    let chains = PRODUCERS.iter().map(|who| frames(&ledger, who)).collect();
    (ledger.log(0).clone(), chains)
}

fn frames(ledger: &Ledger, who: &str) -> Vec<Vec<u8>> {
    let mut log = ledger.log(0).clone();
    let before = log.frames.len();
    for number in (0..).take(BATCHES) {
        let event = ledger.event(who, 0, number).entry.to_bytes().to_vec();
        log.push(&signer(who, who), chain(who), &[event]);
    }
    log.frames.split_off(before)
}

fn replayed(log: &Log) -> LogState {
    let mut state = LogState::new(&log.genesis);
    for frame in &log.frames {
        let verdict = state.accept(&Frame::parse(frame).unwrap());
        assert!(matches!(verdict, Ok(Verdict::Accepted(_))), "{verdict:?}");
    }
    state
}

fn steps() -> impl Strategy<Value = Vec<(usize, Step)>> {
    let step = prop_oneof![4 => Just(Step::Deliver), 1 => Just(Step::Repeat), 1 => Just(Step::SkipOne)];
    prop::collection::vec((0..PRODUCERS.len(), step), 0..40)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_interleaving_replays_to_the_same_state(taken in steps()) {
        let (mut log, chains) = prepared();
        let mut next = [0; PRODUCERS.len()];
        for (who, step) in taken {
            let (before, done) = (log.state.clone(), next[who]);
            match step {
                Step::Deliver if done < BATCHES => {
                    let verdict = log.accept(&chains[who][done]);
                    prop_assert!(matches!(verdict, Ok(Verdict::Accepted(_))));
                    next[who] += 1;
                }
                Step::Repeat if done > 0 => {
                    let verdict = log.accept(&chains[who][done - 1]);
                    let is_earlier = matches!(verdict, Ok(Verdict::Earlier { .. }));
                    prop_assert!(is_earlier);
                    prop_assert_eq!(&log.state, &before);
                }
                Step::SkipOne if done + 1 < BATCHES => {
                    let verdict = log.accept(&chains[who][done + 1]);
                    let is_gap = matches!(verdict, Err(Rejection::Gap { .. }));
                    prop_assert!(is_gap);
                    prop_assert_eq!(&log.state, &before);
                }
                _ => {}
            }
        }
        prop_assert_eq!(&replayed(&log), &log.state);
        let accepted = u64::try_from(next.iter().sum::<usize>()).unwrap();
        prop_assert_eq!(log.state.events(), accepted);
    }

    #[test]
    fn the_heads_of_chains_do_not_depend_on_the_order_between_chains(
        order in Just(PRODUCERS.map(|who| [who; BATCHES]).concat()).prop_shuffle(),
    ) {
        let (mut log, chains) = prepared();
        let (mut other, mut next) = (log.clone(), [0; PRODUCERS.len()]);
        for who in order {
            let at = PRODUCERS.iter().position(|name| *name == who).unwrap();
            prop_assert!(log.accept(&chains[at][next[at]]).is_ok());
            next[at] += 1;
        }
        for frame in chains.iter().flatten() {
            prop_assert!(other.accept(frame).is_ok());
        }
        for who in PRODUCERS {
            let heads = [&log, &other].map(|log| log.state.head(chain(who)).map(|head| (head.number, head.hash)));
            prop_assert_eq!(heads[0], heads[1]);
        }
        prop_assert_eq!((log.state.size(), log.state.events()), (other.state.size(), other.state.events()));
    }
}
