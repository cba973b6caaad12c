import { AgentError, SshAgent } from '../../../src/auth/agent.ts'
import { signMessage } from '../../../src/auth/sshsig.ts'
import { encodeString, encodeUint32 } from '../../../src/auth/ssh-wire.ts'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { parsePrivateKey } from '../../../src/auth/private-key.ts'
import { startPeer } from '../peer.ts'
import { attemptLater, fail, type Target } from '../target.ts'

const peer = await startPeer()
const key = parsePrivateKey(readFileSync(join(import.meta.dirname, '../../vectors/example/alice')))
const [IDENTITIES_ANSWER, SIGN_RESPONSE, FAILURE] = [12, 14, 5]
const agent = new SshAgent({ path: peer.path, timeout: 3_000, signTimeout: 3_000 })
const held = { key: key.public, type: 'ssh-ed25519', blob: key.public.blob, certificate: false, comment: '' }
const isCoded = (error: unknown): boolean => error instanceof AgentError && error.code !== 'no-answer' && error.code !== 'no-agent'

function framed(type: number, ...parts: readonly Uint8Array[]): Buffer {
  return Buffer.from(encodeString(Buffer.concat([Buffer.of(type), ...parts])))
}

/** The input is the answer of an SSH agent, to a list and to a request for a signature. */
export const target: Target = {
  name: 'agent',
  covers: ['auth/agent.ts', 'auth/ssh-wire.ts'],
  longest: 1_500,
  seeds() {
    const blob = encodeString(key.public.blob)
    const signature = signMessage(key, 'asfaleia-auth', Buffer.from('m'))
    return [
      framed(IDENTITIES_ANSWER, encodeUint32(1), blob, encodeString('me')),
      framed(IDENTITIES_ANSWER, encodeUint32(2), blob, encodeString('é'), encodeString(encodeString('ssh-dss')), encodeString('')),
      framed(IDENTITIES_ANSWER, encodeUint32(0)),
      framed(SIGN_RESPONSE, encodeString(signature.subarray(-83))),
      framed(FAILURE),
    ]
  },
  async run(input) {
    peer.play((socket) => {
      socket.once('data', () => socket.end(input))
    })
    const list = await attemptLater(() => agent.list(), isCoded)
    const signed = await attemptLater(() => agent.sign(held, 'asfaleia-auth', Buffer.from('m')), isCoded)
    if ('value' in list && list.value.length > 2_048) fail('too many keys')
    return `${'value' in list ? `list of ${Math.min(list.value.length, 2)}` : list.refused}, ${'value' in signed ? 'signed' : signed.refused}`
  },
}
