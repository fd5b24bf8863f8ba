//! vGPUs the daemon hosts, each in a process of its own.

use serde::Deserialize;
use serde::Serialize;

/// How a hosted vGPU stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum VgpuState {
    /// Its process is starting.
    Starting,
    /// Its process serves the socket.
    Running,
    /// Its process has ended.
    Stopped,
    /// It was destroyed; only events show this.
    Destroyed,
    /// One that a later daemon knows; only clients meet it.
    #[serde(other)]
    Other,
}

/// A hosted vGPU.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VgpuRow {
    /// Its UUID.
    pub uuid: String,
    /// Its type's name.
    #[serde(rename = "type")]
    pub vgpu_type: String,
    /// Where it is served by vfio-user.
    pub socket: String,
    /// Where its picture is served by VNC, if it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vnc: Option<String>,
    /// How it stands.
    pub state: VgpuState,
    /// The process that hosts it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
}

/// The hosted vGPUs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vgpus {
    /// In the order of their UUIDs.
    pub vgpus: Vec<VgpuRow>,
    /// What more may be created, by size; none from a daemon that does not tell.
    #[serde(default)]
    pub types: Vec<VgpuRoom>,
}

/// How much room there is for more vGPUs of a type.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VgpuRoom {
    /// The type's name.
    pub name: String,
    /// How many more of it may be created, if nothing else is.
    pub available_instances: u32,
}

/// Creates a vGPU and starts its process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CreateVgpu {
    /// Its type's name.
    #[serde(rename = "type")]
    pub vgpu_type: String,
    /// Its UUID; made up where none is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uuid: Option<String>,
    /// Where to serve VNC, `ADDRESS:PORT`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vnc: Option<String>,
}

/// Ends a vGPU's process and forgets it, unless it is in use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DestroyVgpu {
    /// Its UUID.
    pub uuid: String,
    /// Even if it is in use: its user is asked to give it back, and waited for a while.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub force: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn destroy_without_force_is_on_the_wire_what_it_was_before_there_was_force() {
        let before = r#"{"uuid":"7"}"#;
        let destroy: DestroyVgpu = serde_json::from_str(before).unwrap();
        assert!(!destroy.force);
        assert_eq!(serde_json::to_string(&destroy).unwrap(), before);
        let force = DestroyVgpu {
            force: true,
            ..destroy
        };
        assert_eq!(
            serde_json::to_string(&force).unwrap(),
            r#"{"uuid":"7","force":true}"#
        );
    }

    #[test]
    fn list_of_a_daemon_that_tells_no_room_is_read() {
        let list: Vgpus = serde_json::from_str(r#"{"vgpus":[]}"#).unwrap();
        assert_eq!(list.types, []);
    }
}
