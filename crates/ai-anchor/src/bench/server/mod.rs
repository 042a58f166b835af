//! `ai-anchor bench server`: how many conversations the server holds, and what it adds to their sound.
//!
//! The server runs in a process of its own, with generators for engines; people of the load speak with it over WebSockets
//! on the loopback, all the time, from this process. The same load goes to Pipecat, where it is installed.

mod generators;
pub mod load;
mod person;
pub mod report;
mod stamp;
pub mod subject;
mod usage;

use load::Point;
use subject::{Kind, StartError};

/// A server holds its sessions while 99 of 100 frames are at most this late.
pub const BEARABLE_MS: f64 = 20.0;

/// Where the search for the most sessions begins, and where it ends for want of more.
const FIRST: usize = 10;
const LAST: usize = 2_000;

/// Measures a server with more and more sessions until it holds them no more: twice as many each time, then between the
/// last two until they are 12 % apart. `progress` is told of every measurement.
pub async fn search(kind: &Kind, seconds: u64, mut progress: impl FnMut(&Point)) -> Result<Vec<Point>, StartError> {
    let mut points = Vec::new();
    let (mut held, mut failed) = (0, None);
    let mut sessions = FIRST;
    loop {
        let mut point = load::measure(kind, sessions, seconds).await?;
        progress(&point);
        if !point.held() {
            // A machine stumbles now and then for reasons of its own; a server that is full fails twice.
            point = load::measure(kind, sessions, seconds).await?;
            progress(&point);
        }
        if point.held() {
            held = sessions;
        } else {
            failed = Some(sessions);
        }
        points.push(point);
        sessions = match failed {
            Some(failed) if failed - held <= (failed / 8).max(1) => break,
            Some(failed) => held + (failed - held) / 2,
            None if sessions >= LAST => break,
            None => sessions * 2,
        };
    }
    points.sort_by_key(|point| point.sessions);
    Ok(points)
}
