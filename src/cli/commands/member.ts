/** `asfaleia member`: lists and removes the members of a closed relay. `asfaleia invite` adds them. */
import { readCommandLine } from '../program/arguments.ts'
import { CliError } from '../program/error.ts'
import { EXIT } from '../program/exit.ts'
import type { Io } from '../program/io.ts'
import { formatJson, sanitizeLine } from '../program/show.ts'
import type { Page } from '../program/page.ts'
import { findService, SERVICE_OPTION } from '../service/folder.ts'
import { describeLeft, type Member, type Members, readMembers, removeMembers } from '../service/members.ts'
import { CONTROL_OPTION, findControl, tellTor } from '../service/reload.ts'
import { formatUntil } from '../service/until.ts'

const OPEN_OPTION = { open: { about: 'if no member is left, let everyone find the service; without it, no one can' } } as const

export const page = {
  name: 'member',
  shared: { ...SERVICE_OPTION, ...CONTROL_OPTION, json: { about: 'print one JSON object' } },
  text: `
    Shows and removes the members of a closed relay: the people who can find its onion service. \`asfaleia invite\` adds them. The relay
    itself does not learn which member connects.`,
  verbs: {
    list: { summary: 'list the members', examples: [['list the members', 'asfaleia member list']] },
    remove: {
      summary: 'end a membership',
      words: ['NAME'],
      options: OPEN_OPTION,
      text: `
        Tor refuses new connections of the member. Connections that are open last until the relay restarts, or until \`asfaleia panic\`: the
        relay cannot tell whose they are.`,
      examples: [['end the membership of Alice', 'asfaleia member remove alice']],
    },
    expire: {
      summary: 'end the memberships whose last day is over',
      text: "Run this once a day, for example by cron. In the appliance, tor's container does it.",
      examples: [['end them', 'asfaleia member expire']],
    },
  },
  examples: [['list the members', 'asfaleia member list']],
} as const satisfies Page

export async function run(argv: string[], io: Io): Promise<number> {
  const given = readCommandLine(argv, io, page)
  if (given === undefined) return EXIT.ok
  const { values } = given
  const json = values.json === true
  const folder = findService(values.service, io)
  const control = findControl(values['tor-control'], io, given.hint)
  const found = await readMembers(folder, io)
  switch (given.verb) {
    case 'list':
      return list(found, json, io)
    case 'remove': {
      const [name] = given.words
      const open = given.values.open === true
      const gone = found.members.filter((member) => member.name === name)
      const opens = open && found.members.length === 0 && found.isLocked
      if (gone.length === 0 && !opens)
        throw new CliError('there is no member with this name', { hint: '`asfaleia member list` shows the names' })
      const left = await removeMembers(folder, gone, open, io)
      io.stdout.write(
        json
          ? `${formatJson({ name, left, open: left === 0 && open })}\n`
          : `${gone.length === 0 ? 'opened' : 'removed'}; ${describeLeft(left, open)}\n`,
      )
      await tellTor(control, io)
      if (gone.length > 0) io.stderr.write('asfaleia: open connections last until the relay restarts, or until `asfaleia panic`\n')
      return EXIT.ok
    }
    case 'expire': {
      const gone = found.members.filter(isOver)
      const left = gone.length === 0 ? found.members.length : await removeMembers(folder, gone, false, io)
      if (json) io.stdout.write(`${formatJson({ removed: gone.map(({ name }) => name), left })}\n`)
      else io.stdout.write(gone.map(({ name }) => `removed ${sanitizeLine(name)}\n`).join(''))
      if (gone.length > 0) await tellTor(control, io)
      return EXIT.ok
    }
  }
}

function isOver({ until }: Member): boolean {
  return until !== undefined && until <= Date.now()
}

function list({ members, isLocked, skipped }: Members, json: boolean, io: Io): number {
  const open = members.length === 0 && !isLocked
  if (json) {
    const all = members.map(({ name, until }) => ({ name, ...(until !== undefined && { until: new Date(until).toISOString() }) }))
    io.stdout.write(`${formatJson({ members: all, open })}\n`)
  } else if (members.length === 0) io.stdout.write(`${describeLeft(0, open)}\n`)
  else {
    for (const member of members) {
      const until = member.until === undefined ? '' : `  ${isOver(member) ? 'over since' : 'until'} ${formatUntil(member.until)}`
      io.stdout.write(`${sanitizeLine(member.name)}${until}\n`)
    }
  }
  for (const file of skipped) io.stderr.write(`asfaleia: warning: tor skips the file ${sanitizeLine(file)}.auth: it holds no public key\n`)
  if (members.some(isOver)) io.stderr.write('asfaleia: `asfaleia member expire` ends the memberships that are over\n')
  return EXIT.ok
}
