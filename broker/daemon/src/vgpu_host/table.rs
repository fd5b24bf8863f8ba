//! Which vGPUs there are, and whether one more may be.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use irqbroker::vgpu::VgpuBudget;
use irqbroker::vgpu::VgpuType;
use irqbroker_protocol::CreateVgpu;
use irqbroker_protocol::ErrorCode;
use irqbroker_protocol::VgpuRoom;
use irqbroker_protocol::VgpuRow;
use irqbroker_protocol::VgpuState;
use irqbroker_protocol::WireError;
use uuid::Uuid;

/// The vGPUs as the spawner last told of them.
#[derive(Debug)]
pub(super) struct Table {
    /// What all hosted vGPUs may take together.
    pub(super) budget: VgpuBudget,
    rows: BTreeMap<Uuid, VgpuRow>,
}

impl Table {
    pub(super) fn new(budget: VgpuBudget) -> Self {
        Self {
            budget,
            rows: BTreeMap::new(),
        }
    }

    /// All, by UUID.
    pub(super) fn rows(&self) -> Vec<VgpuRow> {
        self.rows.values().cloned().collect()
    }

    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether a vGPU may be created: its UUID, `made_up` where none is asked for. Changes nothing.
    pub(super) fn admit(&self, create: &CreateVgpu, made_up: Uuid) -> Result<Uuid, WireError> {
        let refused = |code, text: String| Err(WireError::new(code, text));
        let Some(vgpu) = VgpuType::find(&create.vgpu_type) else {
            let text = format!("no vgpu type {}", create.vgpu_type.escape_debug());
            return refused(ErrorCode::UnknownVgpuType, text);
        };
        let uuid = match &create.uuid {
            None => made_up,
            Some(text) => known_uuid(text)?,
        };
        if let Some(vnc) = &create.vnc {
            loopback(vnc)?;
        }
        if self.rows.contains_key(&uuid) {
            return refused(
                ErrorCode::DuplicateVgpu,
                format!("vgpu {uuid} is there already"),
            );
        }
        match self.left().reserve(vgpu.vram) {
            Ok(_) => Ok(uuid),
            Err(error) => refused(ErrorCode::QuotaExceeded, error.to_string()),
        }
    }

    /// How many more of each type there may be.
    pub(super) fn rooms(&self) -> Vec<VgpuRoom> {
        let left = self.left();
        let rooms = VgpuType::ALL.map(|vgpu| VgpuRoom {
            available_instances: left.available_instances(&vgpu),
            name: vgpu.name.into_owned(),
        });
        rooms.into()
    }

    /// One that has stopped has no VRAM, and its place until it is destroyed.
    fn left(&self) -> VgpuBudget {
        let devices = u32::try_from(self.rows.len()).unwrap_or(u32::MAX);
        let live = self
            .rows
            .values()
            .filter(|row| row.state != VgpuState::Stopped);
        let taken: u64 = live
            .filter_map(|row| VgpuType::find(&row.vgpu_type))
            .map(|vgpu| vgpu.vram)
            .sum();
        self.budget.less(devices, taken)
    }

    /// The vGPU of that UUID.
    pub(super) fn find(&self, uuid: &str) -> Result<Uuid, WireError> {
        let uuid = known_uuid(uuid)?;
        match self.rows.contains_key(&uuid) {
            true => Ok(uuid),
            false => Err(WireError::new(
                ErrorCode::UnknownVgpu,
                format!("no vgpu {uuid}"),
            )),
        }
    }

    /// Takes over what is said of a vGPU; its UUID and how it stands, if that is news.
    pub(super) fn put(&mut self, row: VgpuRow) -> Option<(String, VgpuState)> {
        let uuid = Uuid::parse_str(&row.uuid).ok()?;
        let news = (row.uuid.clone(), row.state);
        let before = match row.state {
            VgpuState::Destroyed => self.rows.remove(&uuid),
            _ => self.rows.insert(uuid, row),
        };
        let was = before.map(|row| row.state);
        (was != Some(news.1)).then_some(news)
    }
}

/// The host of a vGPU would refuse any other; so it is not started at all.
fn loopback(vnc: &str) -> Result<(), WireError> {
    let refused = |text| Err(WireError::new(ErrorCode::InvalidField, text));
    match vnc.parse::<SocketAddr>() {
        Ok(address) if address.ip().to_canonical().is_loopback() => Ok(()),
        Ok(_) => refused(
            "vnc is no loopback address, as 127.0.0.1:5900 is; nothing that is sent would be encrypted",
        ),
        Err(_) => refused("vnc is no address with a port, as 127.0.0.1:5900"),
    }
}

fn known_uuid(text: &str) -> Result<Uuid, WireError> {
    Uuid::parse_str(text).map_err(|_| {
        let text = format!("{} is no uuid", text.escape_debug());
        WireError::new(ErrorCode::InvalidField, text)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const MADE_UP: Uuid = Uuid::from_u128(99);
    const MIB: u64 = 1 << 20;

    fn create(vgpu_type: &str, uuid: Option<u128>) -> CreateVgpu {
        CreateVgpu {
            vgpu_type: vgpu_type.into(),
            uuid: uuid.map(|uuid| Uuid::from_u128(uuid).to_string()),
            vnc: None,
        }
    }

    fn row(uuid: u128, vgpu_type: &str, state: VgpuState) -> VgpuRow {
        VgpuRow {
            uuid: Uuid::from_u128(uuid).to_string(),
            vgpu_type: vgpu_type.into(),
            socket: "/run/a.sock".into(),
            vnc: None,
            state,
            pid: None,
        }
    }

    fn table(devices: u32, vram_mib: u64) -> Table {
        Table::new(VgpuBudget {
            devices,
            vram: vram_mib * MIB,
        })
    }

    fn code(refused: Result<Uuid, WireError>) -> ErrorCode {
        refused.unwrap_err().code
    }

    #[test]
    fn admit_gives_the_uuid_asked_for_or_the_made_up_one() {
        let table = table(2, 64);
        assert_eq!(
            table.admit(&create("small", Some(7)), MADE_UP).unwrap(),
            Uuid::from_u128(7)
        );
        assert_eq!(
            table.admit(&create("small", None), MADE_UP).unwrap(),
            MADE_UP
        );
    }

    #[test]
    fn admit_refuses_what_is_unknown_malformed_or_there_already() {
        let mut table = table(2, 64);
        table.put(row(7, "small", VgpuState::Running));
        let malformed = CreateVgpu {
            uuid: Some("../x".into()),
            ..create("small", None)
        };
        assert_eq!(
            code(table.admit(&create("huge", None), MADE_UP)),
            ErrorCode::UnknownVgpuType
        );
        assert_eq!(
            code(table.admit(&malformed, MADE_UP)),
            ErrorCode::InvalidField
        );
        for vnc in ["--help", "0.0.0.0:5900", "192.0.2.1:5900", "[::]:5900"] {
            let exposed = CreateVgpu {
                vnc: Some(vnc.into()),
                ..create("small", None)
            };
            let refused = table.admit(&exposed, MADE_UP);
            assert_eq!(code(refused), ErrorCode::InvalidField, "{vnc}");
        }
        for vnc in ["127.0.0.1:0", "[::1]:5900"] {
            let own = CreateVgpu {
                vnc: Some(vnc.into()),
                ..create("small", None)
            };
            assert_eq!(table.admit(&own, MADE_UP).unwrap(), MADE_UP, "{vnc}");
        }
        let again = create("small", Some(7));
        assert_eq!(code(table.admit(&again, MADE_UP)), ErrorCode::DuplicateVgpu);
        assert_eq!(table.len(), 1);
    }

    #[test]
    fn admit_refuses_beyond_the_budget_and_a_stopped_one_gives_its_vram_back() {
        // Two of 8 MiB and then none of 16.
        let mut table = table(3, 24);
        table.put(row(1, "small", VgpuState::Running));
        table.put(row(2, "small", VgpuState::Starting));
        let medium = create("medium", None);
        assert_eq!(
            code(table.admit(&medium, MADE_UP)),
            ErrorCode::QuotaExceeded
        );
        table.put(row(2, "small", VgpuState::Stopped));
        assert_eq!(table.admit(&medium, MADE_UP).unwrap(), MADE_UP);
        table.put(row(3, "medium", VgpuState::Running));
        let small = create("small", None);
        assert_eq!(code(table.admit(&small, MADE_UP)), ErrorCode::QuotaExceeded);
        table.put(row(2, "small", VgpuState::Destroyed));
        table.budget.vram = 64 * MIB;
        assert_eq!(table.admit(&small, MADE_UP).unwrap(), MADE_UP);
    }

    fn available(table: &Table) -> Vec<u32> {
        let rooms = table.rooms();
        let names = rooms.iter().map(|room| room.name.as_str());
        assert!(names.eq(["small", "medium", "large", "dual", "uhd"]));
        rooms.iter().map(|room| room.available_instances).collect()
    }

    #[test]
    fn rooms_follow_each_turn_of_a_vgpus_life_and_a_refusal_leaves_them() {
        let mut table = table(3, 40);
        assert_eq!(available(&table), [3, 2, 1, 0, 0]);
        // Its place is taken before its process is there.
        table.put(row(1, "medium", VgpuState::Starting));
        assert_eq!(available(&table), [2, 1, 0, 0, 0]);
        table.put(row(1, "medium", VgpuState::Running));
        assert_eq!(available(&table), [2, 1, 0, 0, 0]);
        let large = create("large", None);
        assert_eq!(code(table.admit(&large, MADE_UP)), ErrorCode::QuotaExceeded);
        assert_eq!(available(&table), [2, 1, 0, 0, 0]);
        // Its process died: its memory is free.
        table.put(row(1, "medium", VgpuState::Stopped));
        assert_eq!(available(&table), [2, 2, 1, 0, 0]);
        assert_eq!(table.admit(&large, MADE_UP).unwrap(), MADE_UP);
        table.put(row(1, "medium", VgpuState::Destroyed));
        assert_eq!(available(&table), [3, 2, 1, 0, 0]);
        // One that could not start.
        table.put(row(2, "medium", VgpuState::Starting));
        table.put(row(2, "medium", VgpuState::Destroyed));
        assert_eq!(available(&table), [3, 2, 1, 0, 0]);
        // A reload left less than there is.
        table.put(row(3, "large", VgpuState::Running));
        table.budget.vram = 16 * MIB;
        assert_eq!(available(&table), [0, 0, 0, 0, 0]);
    }

    #[test]
    fn put_tells_each_change_once() {
        let mut table = table(2, 64);
        let uuid = Uuid::from_u128(7).to_string();
        for state in [
            VgpuState::Starting,
            VgpuState::Running,
            VgpuState::Destroyed,
        ] {
            assert_eq!(
                table.put(row(7, "small", state)),
                Some((uuid.clone(), state))
            );
            if state != VgpuState::Destroyed {
                assert_eq!(table.put(row(7, "small", state)), None);
                table.find(&uuid).unwrap();
            }
        }
        assert_eq!(code(table.find(&uuid)), ErrorCode::UnknownVgpu);
    }
}
