//! How faults are done to sessions. A fault without a target reports that, and is tried again a moment later.

use rustix::process::Signal;

use super::Site;
use super::ground::Missed;
use super::live::{Live, Order};
use super::plan::{Fault, Kind};

pub(super) async fn inject(site: &Site, fault: &Fault) -> Result<(), Missed> {
    let slot = &site.slots[fault.slot];
    let live = || slot.live().ok_or_else(no_session);
    match fault.kind {
        Kind::ProxyKilled => live()?.kill().map_err(failed)?,
        Kind::ProxyStopped => {
            let live = live()?;
            live.signal(Signal::STOP).map_err(failed)?;
            tokio::time::sleep(fault.hold).await;
            // It may have been killed meanwhile; nothing else makes it end.
            let _ = live.signal(Signal::CONT);
        }
        Kind::ClientLeft => order(&live()?, Order::Leave).await?,
        Kind::ClientDied => order(&live()?, Order::Die).await?,
        Kind::ServerCrashed => order(&live()?, Order::End("crash")).await?,
        Kind::ServerBrokeOff => order(&live()?, Order::End("partial")).await?,
        _ => site.ground.inject(&slot.client, fault).await?,
    }
    Ok(())
}

async fn order(live: &Live, order: Order) -> Result<(), Missed> {
    live.orders.send(order).await.map_err(|_| no_session())
}

fn no_session() -> Missed {
    Missed("there is no session".to_owned())
}

#[expect(clippy::needless_pass_by_value, reason = "as `map_err` has it")]
fn failed(error: std::io::Error) -> Missed {
    Missed(error.to_string())
}
