//! Catching up that is stopped and taken up again, and what was lost or made up meanwhile.

use super::*;

/// The fault: a map log that is made again in vain from its beginning whenever it is stopped, and each time told as damage.
#[test]
fn a_map_log_that_is_made_again_goes_on_after_a_stop_from_where_it_was() {
    let World {
        folder: _folder,
        ledger,
    } = world();
    record(&ledger, &many());
    run(&mappers(&ledger), &ledger, None).unwrap();
    let (before, total) = (note(&ledger), ledger.reader(0).unwrap().size().0);
    fs::remove_dir_all(ledger.folder().map(0)).unwrap();
    fs::remove_dir_all(ledger.folder().mapping(0)).unwrap();
    let mut at = 0;
    for part in 1..4 {
        let (sizes, notices) = run_until(&ledger, None, total * part / 4).unwrap();
        assert!(sizes.iter().all(|&size| size > at), "{at}: {sizes:?}");
        // That it is made again is told once.
        assert_eq!(notices.is_empty(), part > 1, "{notices:?}");
        assert_eq!(note(&ledger), "", "it is not whole yet");
        let (size, undecided) = kept(&ledger);
        assert!(size > at && undecided.is_some(), "{size} after {at}");
        at = size;
    }
    let (sizes, notices) = run_until(&ledger, None, u64::MAX).unwrap();
    assert!(sizes.iter().all(|&size| size > at), "{at}: {sizes:?}");
    assert!(notices.is_empty(), "{notices:?}");
    assert_eq!(note(&ledger), before);
    assert_roots(&ledger);
    assert_eq!(kept(&ledger), (total, None));
    assert!(!ledger.folder().map(0).with_added_extension("new").exists());
}

/// Two hosts of a ledger: the other is level at one root, and then far behind.
fn one_far_behind(world: &World, shared: &Mutex<Shared>) -> Ledger {
    let one = &world.ledger;
    let other = another_host(world, "other");
    let leads = Seat::leading(shared);
    let follows = Seat::following(shared, one);
    record(one, &[vec![1; 10]]);
    run(&mappers(one), one, Some(&leads)).unwrap();
    bring_archive(one, &other);
    run(&mappers(&other), &other, Some(&follows)).unwrap();
    record(one, &many());
    run(&mappers(one), one, Some(&leads)).unwrap();
    bring_archive(one, &other);
    other
}

/// The faults: a host that is far behind begins anew after each stop; it signs what it made before that was compared; and
/// meanwhile nothing can be proven there.
#[test]
fn a_host_that_follows_goes_on_after_a_stop_signs_nothing_before_and_proves_the_last_root_meanwhile() {
    let world = world();
    let (one, shared) = (&world.ledger, Mutex::new(Shared::default()));
    let other = one_far_behind(&world, &shared);
    let follows = Seat::following(&shared, one);
    let moments = |ledger: &Ledger| fs::read(ledger.outside().unwrap().join("maps/0")).unwrap();
    let (signed, outside, last) = (note(&other), moments(&other), leaves(&other).pop().unwrap());
    let total = other.reader(0).unwrap().size().0;
    let label = Label(Hash::of(&[&[1]]).0);
    let mut at = last.checkpoint.size.0;
    for part in 1..4 {
        let (sizes, notices) = run_until(&other, Some(&follows), total * part / 4).unwrap();
        assert!(sizes.iter().all(|&size| size > at), "{at}: {sizes:?}");
        assert!(notices.is_empty(), "{notices:?}");
        assert_eq!((note(&other), moments(&other)), (signed.clone(), outside.clone()));
        let (size, undecided) = kept(&other);
        assert!(
            size > at && undecided.is_some_and(|leaves| leaves > 1),
            "{undecided:?}"
        );
        at = size;
        let reader = other.map_reader(0).unwrap().unwrap();
        assert_eq!((reader.leaf(), reader.note()), (&last, signed.as_str()));
        assert_eq!(reader.find(&label).unwrap().value.unwrap().count, 10);
        reader.inclusion().unwrap();
    }
    let reader = other.map_reader(0).unwrap().unwrap();
    let (sizes, notices) = run_until(&other, Some(&follows), u64::MAX).unwrap();
    assert!(sizes.iter().all(|&size| size > at), "{at}: {sizes:?}");
    assert!(notices.is_empty(), "{notices:?}");
    assert_eq!((note(&other), moments(&other)), (note(one), moments(one)));
    assert_roots(&other);
    assert!(!other.folder().mapping(0).join("sealed").exists());
    // Who opened it before reads on.
    assert_eq!(reader.find(&label).unwrap().value.unwrap().count, 10);
}

/// The fault: what a peer made up lasts, and is taken up again for ever.
#[test]
fn what_was_made_of_wrong_moments_and_kept_is_thrown_away() {
    let world = world();
    let (one, shared) = (&world.ledger, Mutex::new(Shared::default()));
    let other = one_far_behind(&world, &shared);
    let follows = Seat::following(&shared, one);
    let (signed, total) = (note(&other), other.reader(0).unwrap().size().0);
    shared.lock().unwrap().lies = true;
    run_until(&other, Some(&follows), total / 2).unwrap();
    assert!(kept(&other).1.is_some());
    shared.lock().unwrap().lies = false;
    let failed = run(&mappers(&other), &other, Some(&follows));
    assert!(matches!(failed, Err(LedgerError::Diverged { .. })));
    assert_eq!(note(&other), signed);
    assert_eq!(run(&mappers(&other), &other, Some(&follows)).unwrap(), [""; 0]);
    assert_eq!(note(&other), note(one));
    assert_roots(&other);
}

/// The fault: the bus lost its register while a host was catching up, and now that host leads: it registers what nobody
/// decided on, or nothing ever again.
#[test]
fn who_leads_and_was_catching_up_puts_a_lost_register_right_with_what_was_decided_on() {
    let world = world();
    let (one, shared) = (&world.ledger, Mutex::new(Shared::default()));
    let other = one_far_behind(&world, &shared);
    let seat = |leads| Seat {
        shared: &shared,
        leads,
        peer: Some(one),
    };
    let (signed, total) = (note(&other), other.reader(0).unwrap().size().0);
    run_until(&other, Some(&seat(false)), total / 2).unwrap();
    let undecided = kept(&other);
    assert!(undecided.1.is_some());
    shared.lock().unwrap().registered = None;
    run(&mappers(&other), &other, Some(&seat(false))).unwrap();
    assert_eq!((note(&other), kept(&other)), (signed.clone(), undecided));
    assert_eq!(shared.lock().unwrap().registered, None);
    let mappers = mappers(&other);
    run(&mappers, &other, Some(&seat(true))).unwrap();
    assert_eq!(shared.lock().unwrap().registered, None);
    // With the next turn it begins at what was signed.
    run(&mappers, &other, Some(&seat(true))).unwrap();
    assert_roots(&other);
    let registered = shared.lock().unwrap().registered.clone().unwrap();
    assert_eq!(registered.checkpoint, Note::parse(&note(&other)).unwrap().text());
    let old = stated(Note::parse(&signed).unwrap().text()).unwrap();
    let now = leaves(&other);
    let hashes: Vec<LeafHash> = now
        .iter()
        .map(|leaf| LeafHash::of(leaf.to_text().as_bytes()))
        .collect();
    assert_eq!(root_of(&hashes[..usize::try_from(old.0.0).unwrap()]), old.1);
}

/// The fault: a host that lost map log and moments waits for a person, though other hosts have them.
#[test]
fn a_host_that_lost_map_log_and_moments_has_them_from_others_and_believes_nobody() {
    let world = world();
    let (one, shared) = (&world.ledger, Mutex::new(Shared::default()));
    let other = one_far_behind(&world, &shared);
    let seat = |peer| Seat {
        shared: &shared,
        leads: false,
        peer,
    };
    run(&mappers(&other), &other, Some(&seat(Some(one)))).unwrap();
    let path = other.outside().unwrap().join("maps/0");
    let moments = fs::read(&path).unwrap();
    fs::remove_dir_all(other.folder().map(0)).unwrap();
    fs::remove_file(&path).unwrap();
    let failed = run(&mappers(&other), &other, Some(&seat(None)));
    assert!(matches!(failed, Err(LedgerError::Damaged { .. })), "{failed:?}");
    shared.lock().unwrap().lies = true;
    let failed = run(&mappers(&other), &other, Some(&seat(Some(one))));
    assert!(matches!(failed, Err(LedgerError::Forked { .. })), "{failed:?}");
    assert_eq!(
        (note(&other), fs::read(&path).unwrap()),
        (String::new(), Vec::new())
    );
    shared.lock().unwrap().lies = false;
    run(&mappers(&other), &other, Some(&seat(Some(one)))).unwrap();
    assert_eq!((note(&other), fs::read(&path).unwrap()), (note(one), moments));
    assert_roots(&other);
}

/// The fault: in an old folder, moments that rotted are built upon, or a person must mend what other hosts have.
#[test]
fn a_host_whose_folder_is_old_and_whose_moments_are_wrong_has_them_from_others() {
    let world = world();
    let (one, shared) = (&world.ledger, Mutex::new(Shared::default()));
    let other = one_far_behind(&world, &shared);
    let seat = |peer| Seat {
        shared: &shared,
        leads: false,
        peer,
    };
    let backup = world.folder.path().join("backup");
    copy_tree(other.root(), &backup);
    run(&mappers(&other), &other, Some(&seat(Some(one)))).unwrap();
    fs::remove_dir_all(other.root()).unwrap();
    copy_tree(&backup, other.root());
    let path = other.outside().unwrap().join("maps/0");
    let moments = fs::read(&path).unwrap();
    let mut wrong = moments.clone();
    wrong[15] ^= 1;
    fs::write(&path, &wrong).unwrap();
    let failed = run(&mappers(&other), &other, Some(&seat(None)));
    assert!(matches!(failed, Err(LedgerError::Damaged { .. })), "{failed:?}");
    assert_eq!(fs::read(&path).unwrap(), wrong, "a person may want them");
    let notices = run(&mappers(&other), &other, Some(&seat(Some(one)))).unwrap();
    assert!(!notices.is_empty());
    assert_eq!((note(&other), fs::read(&path).unwrap()), (note(one), moments));
    assert_roots(&other);
}
