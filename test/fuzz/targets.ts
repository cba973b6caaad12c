/** The targets by name. Loading one loads the modules that it is about. */
import type { Target } from './target.ts'

export const TARGETS: Readonly<Record<string, () => Promise<{ readonly target: Target }>>> = {
  'relay-session': () => import('./targets/relay-session.ts'),
  'client-session': () => import('./targets/client-session.ts'),
  frames: () => import('./targets/frames.ts'),
  'proxy-header': () => import('./targets/proxy-header.ts'),
  'key-line': () => import('./targets/key-line.ts'),
  'ssh-key': () => import('./targets/ssh-key.ts'),
  sshsig: () => import('./targets/sshsig.ts'),
  age: () => import('./targets/age.ts'),
  token: () => import('./targets/token.ts'),
  handover: () => import('./targets/handover.ts'),
  message: () => import('./targets/message.ts'),
  card: () => import('./targets/card.ts'),
  group: () => import('./targets/group.ts'),
  invite: () => import('./targets/invite.ts'),
  names: () => import('./targets/names.ts'),
  address: () => import('./targets/address.ts'),
  'private-key': () => import('./targets/private-key.ts'),
  socks: () => import('./targets/socks.ts'),
  'tor-control': () => import('./targets/tor-control.ts'),
  archive: () => import('./targets/archive.ts'),
  agent: () => import('./targets/agent.ts'),
  profile: () => import('./targets/profile.ts'),
  state: () => import('./targets/state.ts'),
  config: () => import('./targets/config.ts'),
  'owner-lines': () => import('./targets/owner-lines.ts'),
  'handover-door': () => import('./targets/handover-door.ts'),
  bundle: () => import('./targets/bundle.ts'),
  ring: () => import('./targets/ring.ts'),
  keys: () => import('./targets/keys.ts'),
  'http-door': () => import('./targets/http-door.ts'),
}

export async function loadTarget(name: string): Promise<Target> {
  const { target } = await TARGETS[name]!()
  return target
}
