use super::*;

#[test]
fn sim_keeps_every_rule_of_either_kernel_profile() {
    for global_irqfd in [false, true] {
        for body in all() {
            let rig = SimRig::new(KernelProfile { global_irqfd });
            assert!(body.runs_on(&rig), "{}", body.name);
            (body.run)(&rig);
        }
    }
}

#[test]
fn profile_of_a_release_changes_with_6_17() {
    let global = |release| KernelProfile::of_release(release).map(|profile| profile.global_irqfd);
    assert_eq!(global("6.1.0-18-amd64"), Some(false));
    assert_eq!(global("6.16.12"), Some(false));
    assert_eq!(global("6.17-rc1"), Some(true));
    assert_eq!(global("7.2.12+deb13-amd64"), Some(true));
    assert_eq!(global("unknown"), None);
}

#[test]
fn bodies_have_names_of_their_own() {
    let mut names: Vec<&str> = all().iter().map(|body| body.name).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), all().len());
}
