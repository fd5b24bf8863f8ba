//! DRM's requests in memory, those that show pictures of one's own.
//!
//! Structures and numbers: `include/uapi/drm/drm.h` and `drm_mode.h`.

/// A structure that one of DRM's ioctls takes and changes.
pub(crate) trait Request {
    const NUMBER: u8;
}

/// `drm_mode_card_res`.
#[repr(C)]
#[derive(Debug, Default)]
pub(crate) struct Resources {
    pub(crate) framebuffers: u64,
    pub(crate) crtcs: u64,
    pub(crate) connectors: u64,
    pub(crate) encoders: u64,
    pub(crate) count_framebuffers: u32,
    pub(crate) count_crtcs: u32,
    pub(crate) count_connectors: u32,
    pub(crate) count_encoders: u32,
    pub(crate) limits: [u32; 4],
}

/// `drm_mode_modeinfo`.
#[repr(C)]
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Mode {
    pub(crate) clock: u32,
    pub(crate) horizontal: [u16; 5],
    pub(crate) vertical: [u16; 5],
    pub(crate) refresh: u32,
    pub(crate) flags: u32,
    pub(crate) kind: u32,
    pub(crate) name: [u8; 32],
}

impl Mode {
    /// Width and height in pixels.
    pub(crate) fn size(&self) -> (u32, u32) {
        (self.horizontal[0].into(), self.vertical[0].into())
    }
}

/// `drm_mode_get_connector`.
#[repr(C)]
#[derive(Debug, Default)]
pub(crate) struct Connector {
    pub(crate) encoders: u64,
    pub(crate) modes: u64,
    pub(crate) properties: u64,
    pub(crate) property_values: u64,
    pub(crate) count_modes: u32,
    pub(crate) count_properties: u32,
    pub(crate) count_encoders: u32,
    pub(crate) encoder: u32,
    pub(crate) connector: u32,
    /// Type, number, connection, size, order of colours, padding.
    pub(crate) more: [u32; 7],
}

/// `drm_mode_crtc`.
#[repr(C)]
#[derive(Debug, Default)]
pub(crate) struct Crtc {
    pub(crate) connectors: u64,
    pub(crate) count_connectors: u32,
    pub(crate) crtc: u32,
    pub(crate) framebuffer: u32,
    pub(crate) x: u32,
    pub(crate) y: u32,
    pub(crate) gamma_size: u32,
    pub(crate) mode_valid: u32,
    pub(crate) mode: Mode,
}

/// `drm_mode_create_dumb`.
#[repr(C)]
#[derive(Debug, Default)]
pub(crate) struct CreateDumb {
    pub(crate) height: u32,
    pub(crate) width: u32,
    pub(crate) bits: u32,
    pub(crate) flags: u32,
    pub(crate) handle: u32,
    pub(crate) pitch: u32,
    pub(crate) size: u64,
}

/// `drm_mode_map_dumb`.
#[repr(C)]
#[derive(Debug, Default)]
pub(crate) struct MapDumb {
    pub(crate) handle: u32,
    pub(crate) padding: u32,
    pub(crate) offset: u64,
}

/// `drm_mode_fb_cmd`.
#[repr(C)]
#[derive(Debug, Default)]
pub(crate) struct AddFramebuffer {
    pub(crate) framebuffer: u32,
    pub(crate) width: u32,
    pub(crate) height: u32,
    pub(crate) pitch: u32,
    pub(crate) bits: u32,
    pub(crate) depth: u32,
    pub(crate) handle: u32,
}

/// `drm_mode_crtc_page_flip`.
#[repr(C)]
#[derive(Debug, Default)]
pub(crate) struct PageFlip {
    pub(crate) crtc: u32,
    pub(crate) framebuffer: u32,
    pub(crate) flags: u32,
    pub(crate) reserved: u32,
    pub(crate) user_data: u64,
}

impl Request for Resources {
    const NUMBER: u8 = 0xa0;
}
impl Request for Crtc {
    const NUMBER: u8 = 0xa2;
}
impl Request for Connector {
    const NUMBER: u8 = 0xa7;
}
impl Request for AddFramebuffer {
    const NUMBER: u8 = 0xae;
}
impl Request for PageFlip {
    const NUMBER: u8 = 0xb0;
}
impl Request for CreateDumb {
    const NUMBER: u8 = 0xb2;
}
impl Request for MapDumb {
    const NUMBER: u8 = 0xb3;
}
