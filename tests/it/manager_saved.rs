//! Saved state that is cut short, of another version, or contradicts itself.

use anyhow::Context;
use anyhow::ensure;
use irqbroker::manager::Manager;
use irqbroker::manager::ManagerOptions;
use irqbroker::manager::SavedManager;
use irqbroker_vfio::Raised;
use irqbroker_vfio::SimDevice;
use libtest_mimic::Trial;
use serde_json::Value;
use serde_json::json;

use crate::manager_rig::Rig;
use crate::manager_rig::Spent;
use crate::manager_rig::vector;
use crate::need::Need;
use crate::need::story;
use crate::world::SimWorld;
use crate::world::World;
use crate::world::message;

pub(crate) fn stories() -> Vec<Trial> {
    vec![
        story(
            "manager_saved_state_that_contradicts_itself_changes_no_device",
            Need::Nothing,
            contradictory,
        ),
        story(
            "manager_saved_state_of_another_version_changes_no_device",
            Need::Nothing,
            other_version,
        ),
        story(
            "manager_saved_state_cut_short_is_refused_wherever_it_ends",
            Need::Nothing,
            cut_short,
        ),
    ]
}

const VECTORS: u16 = 4;

/// Two devices of one manager, each with a vector that delivers and one with a pending event.
struct Pair {
    world: SimWorld,
    devices: [Rig; 2],
}

impl Pair {
    /// Its messages are `base` and the next ones.
    fn new(base: u16) -> anyhow::Result<Self> {
        let world = SimWorld::new()?;
        let manager = Manager::new(world.domain().clone(), ManagerOptions::default())?;
        let device = |name, base: u16| -> anyhow::Result<Rig> {
            let device = SimDevice::pci().intx().msi(32).msix(VECTORS.into());
            let rig = Rig::on(manager.clone(), name, VECTORS, device)?;
            let messages = (0..2).map(|at| (at, message(vector(base + at))));
            rig.guest.enable_msix(messages);
            rig.guest.mask(1);
            ensure!(rig.raise(1) == Raised::Signalled);
            rig.settle(&world)?;
            Ok(rig)
        };
        let devices = [device("first", base)?, device("second", base + 2)?];
        Ok(Self { world, devices })
    }

    fn manager(&self) -> &Manager {
        &self.devices[0].manager
    }

    /// A state that fits but for `change`, which is made to what is saved of the second device.
    /// The first one's is valid, and not what it is.
    fn refuses(&self, what: &str, change: impl FnOnce(&mut Value)) -> anyhow::Result<()> {
        let mut state = serde_json::to_value(Self::new(40)?.manager().save())?;
        change(&mut state["devices"]["second"]);
        self.refuses_all(what, &state)
    }

    /// Refused as a whole: registers, pending bits, eventfds and routes are as they were.
    fn refuses_all(&self, what: &str, state: &Value) -> anyhow::Result<()> {
        let before = self.manager().save();
        for rig in &self.devices {
            let mut refused = false;
            let spent = rig.spent(&self.world, |_| {
                let state = serde_json::from_value::<SavedManager>(state.clone());
                refused = state.map_or(true, |state| self.manager().restore(&state).is_err());
            })?;
            ensure!(refused, "{what} was taken over");
            ensure!(spent == Spent::default(), "{what} cost {spent:?}");
        }
        ensure!(self.manager().save() == before, "{what} changed something");
        Ok(())
    }

    /// All of it still goes where the guest wants it.
    fn delivers(&self) -> anyhow::Result<()> {
        for (rig, base) in self.devices.iter().zip([0, 2]) {
            ensure!(rig.guest.is_pending(1), "what was pending is lost");
            rig.guest.unmask(1);
            ensure!(rig.raise(0) == Raised::Signalled);
            rig.settle(&self.world)?;
            let found = [0, 1].map(|at| self.world.delivered(vector(base + at)));
            ensure!(found == [1, 1], "{found:?}");
        }
        Ok(())
    }
}

fn contradictory() -> anyhow::Result<()> {
    let pair = Pair::new(0)?;
    let set = |at: &'static str, value: Value| {
        move |device: &mut Value| {
            if let Some(place) = device["interrupts"].pointer_mut(at) {
                *place = value;
            }
        }
    };
    let entry = json!({ "address": 0xfee0_0000u64, "data": 0x41, "control": 0 });
    for (what, at, value) in [
        ("a table that is shorter", "/msix/entries", json!([entry])),
        // Refused by its length alone.
        (
            "a table that is longer than any",
            "/msix/entries",
            Value::Array(vec![entry.clone(); 100_000]),
        ),
        ("no table", "/msix", Value::Null),
        ("no message", "/msi", Value::Null),
        ("no line", "/intx", Value::Null),
        ("a vector beyond the table", "/msix/pending", json!([4])),
        (
            "vectors without end",
            "/msix/pending",
            json!(vec![9; 70_000]),
        ),
        ("reserved control bits", "/msix/control", json!(0x8800)),
        ("reserved vector bits", "/msix/entries/0/control", json!(2)),
        (
            "an address that is not aligned",
            "/msix/entries/0/address",
            json!(0xfee0_0001u64),
        ),
        ("reserved bits of msi", "/msi/control", json!(0x8000)),
        ("a pin there is not", "/intx/pin", json!(9)),
        ("a number that is none", "/msi/mask", json!("all")),
        ("a number that is negative", "/msi/pending", json!(-1)),
    ] {
        pair.refuses(what, set(at, value))?;
    }
    pair.refuses("a field that is unknown", |device| {
        device["interrupts"]["msix"]["rate"] = json!(1);
    })?;
    let saved =
        || -> anyhow::Result<Value> { Ok(serde_json::to_value(Pair::new(40)?.manager().save())?) };
    let mut fewer = saved()?;
    let devices = fewer["devices"].as_object_mut().context("no devices")?;
    let second = devices.remove("second").context("no second device")?;
    pair.refuses_all("a device less", &fewer)?;
    let mut more = saved()?;
    more["devices"]["third"] = second;
    pair.refuses_all("a device more", &more)?;
    pair.delivers()
}

fn other_version() -> anyhow::Result<()> {
    let pair = Pair::new(0)?;
    for at in [
        "/version",
        "/devices/second/version",
        "/devices/second/interrupts/version",
        "/devices/second/interrupts/intx/version",
        "/devices/second/interrupts/msi/version",
        "/devices/second/interrupts/msix/version",
    ] {
        for version in [0, 2, u32::MAX] {
            let mut state = serde_json::to_value(Pair::new(40)?.manager().save())?;
            *state.pointer_mut(at).context(at)? = json!(version);
            pair.refuses_all(at, &state)?;
        }
    }
    pair.delivers()
}

fn cut_short() -> anyhow::Result<()> {
    let pair = Pair::new(0)?;
    let text = serde_json::to_string(&Pair::new(40)?.manager().save())?;
    for end in 0..text.len() {
        let cut = serde_json::from_str::<SavedManager>(&text[..end]);
        ensure!(cut.is_err(), "taken for whole at {end}");
    }
    // What is left of a list or a table is refused as well: see the other stories.
    pair.delivers()?;
    // The whole of it is taken over.
    pair.manager().restore(&serde_json::from_str(&text)?)?;
    ensure!(serde_json::to_string(&pair.manager().save())? == text);
    Ok(())
}
