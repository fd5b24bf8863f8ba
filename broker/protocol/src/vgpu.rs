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

/// Ends a vGPU's process and forgets it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DestroyVgpu {
    /// Its UUID.
    pub uuid: String,
}
