import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseKeyLine, parseKeyOptions, splitLines } from '../../../src/auth/key-line.ts'
import { parseAdmitted } from '../../../src/server/admitted.ts'
import { attempt, fail, latin1, type Target } from '../target.ts'

const KEY = readFileSync(join(import.meta.dirname, '../../vectors/example/alice.pub'), 'latin1').trim()

export const target: Target = {
  name: 'key-line',
  covers: ['auth/key-line.ts', 'server/admitted.ts', 'server/mistake.ts'],
  longest: 1_200,
  seeds: () => [
    `${KEY}\n`,
    `\xef\xbb\xbf# people\r\n\r\n  ${KEY} Alice\r\n`,
    `restrict,expiry-time="20270101",name="Al \\"x\\"" ${KEY}\n`,
    `cert-authority ${KEY}\nexpiry-time=20270101Z ${KEY}\n`,
    `send-only,mailbox=12 ${KEY}\nreceive-only,command="ls" ${KEY}\n`,
    ...[
      'expiry-time="20270101"',
      'expiry-time="202701011230Z"',
      'send-only',
      'receive-only',
      'per-sender=8M',
      'mailbox=12',
      'verify-required',
    ].map((option) => `${option} ${KEY}\n`),
    ...['from="1.2.3.4"', 'no-touch-required', 'principals="a"', 'command="ls"', 'mailbox=1,mailbox=2', 'permitopen="h:1"', 'no-pty'].map(
      (option) => `${option} ${KEY}\n`,
    ),
    'ssh-dss AAAA x\nnonsense\n',
  ],
  run(input) {
    let joined = ''
    for (const { start, end, text } of splitLines(input)) {
      joined += latin1(input.subarray(start, end))
      const line = parseKeyLine(text)
      if (typeof line === 'object') {
        parseKeyOptions(line.options)
        if (!latin1(text).includes(latin1(line.comment))) fail('the comment is not in the line')
      }
    }
    if (joined !== latin1(input)) fail('the lines are not the file')
    const read = attempt(
      () => parseAdmitted(input),
      () => false,
    )
    if (!('value' in read)) return read.refused
    const { entries, mistakes } = read.value
    return `${Math.min(entries.length, 2)} entries; ${[...new Set(mistakes.map(({ what }) => what))].slice(0, 1).join()}`
  },
}
