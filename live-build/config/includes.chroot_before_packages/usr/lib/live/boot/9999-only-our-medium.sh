#!/bin/sh
# Sourced by live-boot in the initramfs, after its own files.
#
# live-boot looks first at the medium that `live-media=` names, but when that is not there yet (a
# slow USB port) it mounts every disk of the server in turn to look for it. Here it looks at the one
# named medium only, again each second for a minute.

find_livefs ()
{
	[ -e "${LIVE_MEDIA}" ] || return 1
	check_dev "null" "${LIVE_MEDIA}" "skip_uuid_check"
}
