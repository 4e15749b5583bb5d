//! Who gets which seat.

use super::*;

fn lobby(rooms_max: u32, seats: u32) -> Lobby {
    Lobby::hosting(Hosted { name: "arena".into(), input: vec![], rooms_max, seats })
}

fn join(lobby: &Lobby, seek: Seek) -> Result<u32, RefusalCode> {
    lobby.find(&seek).and_then(|sought| lobby.take_seat(sought)).map(|room| room.0).map_err(|why| why.code)
}

const ANY: Seek = Seek::JoinOrCreate("arena");

#[test]
fn the_fullest_room_with_a_seat_gets_the_next_one_and_of_equals_the_oldest() {
    let lobby = lobby(3, 2);
    assert_eq!([ANY; 5].map(|seek| join(&lobby, seek)), [0, 0, 1, 1, 2].map(Ok));

    lobby.give_back(RoomId(0));
    lobby.give_back(RoomId(1));
    assert_eq!(join(&lobby, ANY), Ok(0), "three have one seat: the oldest");
    lobby.give_back(RoomId(0));
    lobby.give_back(RoomId(0));
    assert_eq!([ANY; 5].map(|seek| join(&lobby, seek)), [Ok(1), Ok(2), Ok(0), Ok(0), Err(RefusalCode::Full)]);
}

#[test]
fn a_room_opens_only_for_who_would_have_one_opened_and_only_when_all_are_full() {
    let lobby = lobby(2, 1);
    assert_eq!(join(&lobby, Seek::Join("arena")), Ok(0));
    assert_eq!(join(&lobby, Seek::Join("arena")), Err(RefusalCode::Full));
    assert_eq!(lobby.opening(RoomId(1)), None);
    assert_eq!(join(&lobby, ANY), Ok(1));
    let opening = Opening { game: 0, game_name: "arena".into(), number: 2, name: "arena-2".into() };
    assert_eq!(lobby.opening(RoomId(1)), Some(opening));
    lobby.give_back(RoomId(1));
    assert_eq!(join(&lobby, Seek::Join("arena")), Ok(1), "now it is open");
    assert_eq!(join(&lobby, Seek::Create("arena")), Err(RefusalCode::UnknownRoom));
}

#[test]
fn a_room_is_found_by_its_name_and_by_nothing_like_it() {
    let mut lobby = lobby(2, 1);
    let second = Hosted { name: "arena-1".into(), input: vec![], rooms_max: 1, seats: 1 };
    assert_eq!(lobby.add(second), RoomId(1));
    for unknown in ["arena-2", "arena-01", "arena-+1", "arena-0", "arena-", "arena", "", "arena-1-2", "x-1"] {
        assert_eq!(join(&lobby, Seek::Room(unknown)), Err(RefusalCode::UnknownRoom), "{unknown}");
    }
    assert_eq!(join(&lobby, Seek::Room("arena-1-1")), Ok(1));
    assert_eq!(join(&lobby, Seek::Room("arena-1")), Ok(0));
    assert_eq!(join(&lobby, Seek::Room("arena-1")), Err(RefusalCode::Full), "though another could open");
    assert_eq!(join(&lobby, ANY), Ok(2), "and it does for who takes any");
    assert_eq!(join(&lobby, Seek::Room("arena-2")), Err(RefusalCode::Full));
}

#[test]
fn a_full_game_says_when_to_come_again() {
    let lobby = lobby(2, 1);
    let why = |seek: Seek| lobby.find(&seek).and_then(|sought| lobby.take_seat(sought)).unwrap_err();
    assert!(join(&lobby, ANY).is_ok() && join(&lobby, ANY).is_ok());
    let full = |text: &str| NoSeat {
        code: RefusalCode::Full,
        text: text.into(),
        retry_after_millis: Some(FULL_RETRY_MILLIS),
    };
    assert_eq!(why(ANY), full("all 2 rooms are full, with 1 seats each"));
    assert_eq!(why(Seek::Room("arena-2")), full("the room is full: all 1 seats are taken"));
    assert_eq!(why(Seek::JoinOrCreate("chess")).text, "there is no game \"chess\" here; there is arena");
}

#[test]
fn a_room_that_has_ended_is_passed_by_and_when_all_have_it_is_over() {
    let lobby = lobby(2, 2);
    assert_eq!(join(&lobby, ANY), Ok(0));
    lobby.end(RoomId(0));
    lobby.end(RoomId(0));
    assert_eq!(join(&lobby, Seek::Join("arena")), Err(RefusalCode::Game));
    assert_eq!(join(&lobby, Seek::Room("arena-1")), Err(RefusalCode::Game));
    lobby.give_back(RoomId(0));
    assert_eq!((join(&lobby, ANY), lobby.is_over()), (Ok(1), false), "its seats count no more");
    lobby.end(RoomId(1));
    assert_eq!((join(&lobby, ANY), lobby.is_over()), (Err(RefusalCode::Game), true));
    assert!(!Lobby::default().is_over());
}

#[test]
fn however_many_join_and_leave_at_once_no_room_has_more_than_its_seats() {
    const SEATS: u32 = 5;
    let lobby = lobby(4, SEATS);
    let taken = [0; 4].map(std::sync::atomic::AtomicU32::new);
    use std::sync::atomic::Ordering::SeqCst;
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let (lobby, taken) = (&lobby, &taken);
            scope.spawn(move || {
                let mut held = Vec::new();
                for turn in 0..10_000 {
                    if (turn * 7 + thread) % 3 > 0
                        && let Ok(room) = join(lobby, ANY)
                    {
                        assert!(taken[room as usize].fetch_add(1, SeqCst) < SEATS);
                        held.push(room);
                    } else if let Some(room) = held.pop() {
                        taken[room as usize].fetch_sub(1, SeqCst);
                        lobby.give_back(RoomId(room));
                    }
                }
                for room in held {
                    taken[room as usize].fetch_sub(1, SeqCst);
                    lobby.give_back(RoomId(room));
                }
            });
        }
    });
    assert_eq!([ANY; 20].map(|seek| join(&lobby, seek)).iter().filter(|seat| seat.is_ok()).count(), 20);
    assert_eq!(join(&lobby, ANY), Err(RefusalCode::Full));
}
