//! Saving a device and taking it back, in this process or another.
//!
//! The device stops as it is saved, so that no event happens twice; its time stands still until it
//! is restored. What is restored is what the guest and the VFIO user can see: registers, VRAM,
//! monitors, time, masks, and what each eventfd was not told yet. Eventfds and mappings are the
//! user's to bind again; one that was bound goes on where it was, and is told at once what it missed.
//!
//! A saved device that nobody restores runs again from a reset on, or once the user who had it saved is
//! gone: the next one finds a device that works.

use std::os::fd::BorrowedFd;
use std::os::fd::OwnedFd;
use std::sync::MutexGuard;

use crate::config_space::ConfigSpace;
use crate::device::VgpuDevice;
use crate::device::bindings::SavedSlot;
use crate::device::regions::Reset;
use crate::device::state::Life;
use crate::device::state::Outbox;
use crate::device::state::State;
use crate::device::state::display_place;
use crate::device::state::head_id;
use crate::edid_region::EdidRegion;
use crate::head_event::HeadEvent;
use crate::head_events::Carried;
use crate::head_events::Listener;
use crate::head_events::Opened;
use crate::head_events::SavedEvents;
use crate::instance::VgpuInstance;
use crate::msix_table::MsixTable;
use crate::refresh::Refresh;
use crate::registers::Monitor;
use crate::registers::Registers;
use crate::saved;
use crate::saved::RestoreError;
use crate::saved::SaveError;
use crate::saved::SavedFile;
use crate::saved::SavedHead;
use crate::saved::SavedPart;
use crate::saved::SavedType;
use crate::saved::SavedVgpu;
use crate::scanout::Scanout;

/// A saved device that has been found sound, all but its VRAM.
struct Sound {
    config: ConfigSpace,
    table: MsixTable,
    registers: Registers,
    display: Vec<SavedSlot>,
    heads: Vec<SoundHead>,
}

struct SoundHead {
    refresh: Refresh,
    since_vblank: u64,
    events: SavedEvents,
    shown_offset: Option<u64>,
    guest_listens: [bool; HeadEvent::COUNT],
    monitor: Monitor,
    edid: EdidRegion,
}

impl State {
    fn save(&mut self, instance: &VgpuInstance, vgpu: SavedType) -> SavedVgpu {
        let heads = (0..self.heads.len()).zip(instance.heads());
        let heads = heads
            .map(|(place, timed)| {
                self.advance(instance, place);
                let head = &self.heads[place];
                let (frame, since_vblank) = timed.frame_and_phase();
                let refresh = timed.refresh();
                let (edid, edid_size) = head.edid.save();
                let listens = |event| head.events.is_open(event, Listener::Vector);
                SavedHead {
                    refresh: saved::ratio(refresh),
                    // A vblank between the two looks at the clock is still to come.
                    since_vblank: if frame == head.events.frame() {
                        since_vblank
                    } else {
                        u64::MAX
                    },
                    events: head.events.save(),
                    shown_offset: head.held_picture(),
                    guest_listens: HeadEvent::ALL.map(listens).to_vec(),
                    monitor: head.monitor,
                    edid,
                    edid_size,
                }
            })
            .collect();
        SavedVgpu {
            vgpu,
            config: self.config.save(),
            msix_table: self.table.save(),
            registers: self.registers.clone(),
            display: self.bindings.save_display(),
            heads,
        }
    }

    /// Ends a stop. What occurred meanwhile is owed, once, as behind a mask.
    pub(crate) fn start(&mut self) {
        if self.life == Life::Stopped {
            self.life = Life::Running;
        }
    }

    /// What `saved` would make of this device, which stays as it is.
    fn check(&self, saved: SavedVgpu) -> Result<Sound, SavedPart> {
        let sound = |is_sound: bool, part| is_sound.then_some(()).ok_or(part);
        let (mut config, mut table) = (self.config.clone(), self.table.clone());
        let mut registers = self.registers.clone();
        sound(config.restore(&saved.config), SavedPart::Config)?;
        sound(table.restore(&saved.msix_table), SavedPart::MsixTable)?;
        sound(registers.restore(saved.registers), SavedPart::Registers)?;
        let sub_indexes = self.heads.len() * HeadEvent::COUNT;
        sound(saved.display.len() == sub_indexes, SavedPart::Masks)?;
        sound(saved.heads.len() == self.heads.len(), SavedPart::Head)?;
        let vram = saved.vgpu.vram();
        let heads = (0..).zip(saved.heads.into_iter().zip(&self.heads));
        let heads = heads.map(|(place, (saved, here))| {
            sound(saved.events.is_sound(), SavedPart::Head)?;
            let committed = registers.shown(head_id(place));
            let is_there = |offset| {
                let held = committed.map(|after| Scanout { offset, ..after });
                held.is_some_and(|held| held.within(vram).is_some())
            };
            sound(saved.shown_offset.is_none_or(is_there), SavedPart::Head)?;
            let mut edid = here.edid.clone();
            let known = edid.restore(&saved.edid, saved.edid_size);
            // A monitor that is plugged in has an EDID.
            let shown = saved.monitor == Monitor::Unplugged || edid.edid().is_some();
            sound(known && shown, SavedPart::Monitor)?;
            let listens = saved.guest_listens.as_slice().try_into();
            Ok(SoundHead {
                refresh: saved.refresh().ok_or(SavedPart::Head)?,
                since_vblank: saved.since_vblank,
                events: saved.events,
                shown_offset: saved.shown_offset,
                guest_listens: listens.map_err(|_| SavedPart::Head)?,
                monitor: saved.monitor,
                edid,
            })
        });
        let heads = heads.collect::<Result<_, _>>()?;
        Ok(Sound {
            config,
            table,
            registers,
            display: saved.display,
            heads,
        })
    }

    fn restore(&mut self, instance: &VgpuInstance, sound: Sound) {
        let Sound {
            config,
            table,
            registers,
            display,
            heads,
        } = sound;
        self.config = config;
        self.table = table;
        self.registers = registers;
        self.bindings.restore_display(&display);
        self.life = Life::Running;
        self.cleared += 1;
        self.gfx.reset();
        for view in self.views.iter_mut().flatten() {
            view.gfx.reset();
        }
        for (place, (head, timed)) in heads.into_iter().zip(instance.heads()).enumerate() {
            timed.resume(head.refresh, head.events.frame(), head.since_vblank);
            self.restore_head(place, head, &display);
        }
    }

    fn restore_head(&mut self, place: usize, saved: SoundHead, display: &[SavedSlot]) {
        let state = &mut self.heads[place];
        state.monitor = saved.monitor;
        state.edid = saved.edid;
        let listeners = state.events.listeners_here();
        state.events.restore(&saved.events, |event, listener| {
            if listener == Listener::Vector {
                let listened = saved.guest_listens[event.position()];
                return if listened {
                    Carried::Listening
                } else {
                    Carried::Nothing
                };
            }
            match display.get(display_place(place, event)) {
                Some(slot) if slot.bound && slot.masked => Carried::Masked,
                Some(slot) if slot.bound => Carried::Listening,
                _ => Carried::Nothing,
            }
        });
        for (event, listener) in listeners {
            state.events.open(event, listener, Opened::Anew);
        }
        for event in HeadEvent::ALL {
            let sub_index = display_place(place, event);
            if self.bindings.display_listens(sub_index)
                && state.events.open(event, Listener::Display, Opened::Anew)
            {
                self.bindings.signal_display(sub_index);
            }
        }
        self.forget_alarm(place);
        self.show_edid(place);
        self.show(head_id(place));
        self.heads[place].take_up_pictures(saved.shown_offset);
        self.sync_vectors(place);
    }
}

impl VgpuDevice {
    /// Stops the device and writes all it is into a sealed file in memory. It signals nothing to VFIO
    /// from then on until it is [restored](Self::restore_state), from this very file if the move
    /// has come to nothing, or is reset or [resumed](irqbroker_vfio_abi::Device::resume). Vblank producers
    /// of this process, which do not move, go on.
    ///
    /// # Errors
    ///
    /// See [`SaveError`]. The device goes on.
    pub fn save_state(&self) -> Result<OwnedFd, SaveError> {
        let id = self.instance.id();
        let mut state = self.lock();
        let before = state.life;
        if before == Life::Retired {
            return Err(SaveError::Destroyed { id });
        }
        let saved = state.save(&self.instance, SavedType::from(&self.vgpu));
        state.life = Life::Stopped;
        for head in 0..self.ports.len() {
            state.rearm(&self.instance, head);
        }
        drop(state);
        let written = serde_json::to_vec(&saved)
            .map_err(|source| SaveError::Encode { id, source })
            .and_then(|state| {
                saved::write(&state, &self.vram).map_err(|source| SaveError::Memory { id, source })
            });
        if written.is_err() {
            let mut state = self.lock();
            if state.life == Life::Stopped {
                state.life = before;
            }
            for head in 0..self.ports.len() {
                state.rearm(&self.instance, head);
            }
        }
        written
    }

    /// Makes the device what [`save_state`](Self::save_state) wrote of one of the same type, and
    /// starts it. What is bound here stays bound and goes on where the saved one's eventfds were.
    ///
    /// # Errors
    ///
    /// See [`RestoreError`]. The device is as it was, but for [`RestoreError::Read`]: then it is reset.
    pub fn restore_state(&self, file: BorrowedFd<'_>) -> Result<(), RestoreError> {
        let file = SavedFile::read(file)?;
        let here = SavedType::from(&self.vgpu);
        if !file.state.vgpu.is_like(&here) {
            return Err(RestoreError::Type {
                saved: file.state.vgpu.to_string(),
                here: here.to_string(),
            });
        }
        let id = self.instance.id();
        let state = self.lock();
        if state.life == Life::Retired {
            return Err(RestoreError::Destroyed { id });
        }
        let sound = state.check(file.state.clone());
        drop(state);
        let sound = sound.map_err(|part| RestoreError::Unsound { part })?;
        // With no lock held: it may be a gibibyte.
        if let Err(source) = file.read_vram(&self.vram) {
            // Half a picture is none; the error that is told is the first one.
            let _ = self.reset_all(Reset::Device);
            return Err(RestoreError::Read { source });
        }
        let mut state = self.lock();
        if state.life == Life::Retired {
            return Err(RestoreError::Destroyed { id });
        }
        state.restore(&self.instance, sound);
        self.tell_all(state);
        Ok(())
    }

    /// Starts a device again that was saved and is not to be restored: it goes on as it is, and who
    /// listens is told at once what happened meanwhile.
    pub(crate) fn resume_events(&self) {
        let mut state = self.lock();
        state.start();
        for head in 0..self.ports.len() {
            state.advance(&self.instance, head);
        }
        self.tell_all(state);
    }

    /// Signals what is owed on all heads, and sets their alarms.
    fn tell_all(&self, mut state: MutexGuard<'_, State>) {
        let mut outbox = Outbox::default();
        for head in 0..self.ports.len() {
            state.signal(head, &mut outbox);
            state.rearm(&self.instance, head);
        }
        drop(state);
        self.send(outbox);
    }
}
