/**
 * The web page in Chromium, opened as a file: two people over a relay behind a name of Tor's. Chromium gets every onion
 * name from a SOCKS server on loopback.
 */
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Page } from 'playwright-core'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest'
import { needs } from '../auth/openssh.ts'
import { startBrowser } from '../support/browser.ts'
import { bundle } from '../support/bundle.ts'
import { generateSeedKey } from '../../src/auth/seed.ts'
import { makeCard, parseCard } from '../../src/client/format/card.ts'
import { fingerprintOf } from '../../src/client/format/field.ts'
import { identityOf } from '../../src/client/format/identity.ts'
import { formatInvite } from '../../src/client/format/invite.ts'
import { contactOf } from '../../src/client/messenger/contact.ts'
import { openMessenger } from '../../src/client/messenger/messenger.ts'
import { Account } from '../../src/page/account.ts'
import { beginAs, cardOf, ONION, PAGE_FILE, type PageWorld, startPageWorld, violationsOf, write } from '../support/page.ts'
import { ASFALEIA, run } from '../support/process.ts'
import { missing } from '../support/programs.ts'

vi.setConfig({ testTimeout: 120_000 })

/** Measurements, printed at the end. */
const figures: string[] = []

let world: PageWorld
const closers: (() => unknown)[] = []
beforeEach(needs('chromium'))
beforeAll(async () => {
  if (missing('chromium') === undefined) world = await startPageWorld()
})
afterEach(async () => {
  for (const close of closers.splice(0).toReversed()) await close()
})
afterAll(async () => {
  await world?.close()
  if (figures.length > 0) process.stdout.write(`${figures.join('\n')}\n`)
})

async function openPage(options?: Parameters<PageWorld['open']>[0], url?: string): Promise<Page> {
  const page = await world.open(options, url)
  closers.push(() => page.context().close())
  return page
}

const message = (page: Page, text: string) => page.locator('.text', { hasText: text })
const person = (page: Page, name: string) => page.getByRole('navigation', { name: 'Conversations' }).getByRole('button', { name })

/** Two people who have each other as contacts, with the conversation open. */
async function meet(alice: Page, bob: Page): Promise<void> {
  await beginAs(alice, 'Alice')
  await bob.getByLabel('Paste the invite or the card').fill(await cardOf(alice))
  await bob.getByLabel('What should they call you?').fill('Bob')
  await bob.getByRole('button', { name: 'Begin' }).click()
  await write(bob, 'Hello Alice')
  await person(alice, 'Bob').click()
  await message(alice, 'Hello Alice').waitFor()
  await alice.getByRole('button', { name: 'Accept' }).click()
  await alice.getByRole('textbox', { name: 'Write to Bob' }).waitFor()
}

test('two people: a card, a request, messages both ways, receipts, the same safety words, a file of 1 MB', async () => {
  const [alice, bob] = [await openPage(), await openPage()]
  expect(await alice.getByText('This page is a file of yours.').count()).toBe(1)
  await meet(alice, bob)
  await bob.getByText('Delivered').waitFor()
  await write(alice, 'Hello Bob')
  await message(bob, 'Hello Bob').waitFor()
  await alice.getByText('Delivered').waitFor()

  const words = async (page: Page): Promise<string[]> => {
    await page.getByRole('button', { name: 'Verify' }).click()
    await page.getByRole('button', { name: 'Show the words' }).click()
    await page.locator('.words li').first().waitFor()
    return page.locator('.words li').allTextContents()
  }
  const [hers, his] = [await words(alice), await words(bob)]
  expect(hers).toHaveLength(12)
  expect(hers).toEqual(his)
  await alice.getByRole('button', { name: 'They are equal' }).click()
  await alice.getByText('You compared the words').waitFor()
  for (const page of [alice, bob]) await page.getByRole('button', { name: 'Back to the conversation' }).click()

  const bytes = Buffer.from(Uint8Array.from({ length: 1_000_000 }, (_, n) => n % 251))
  await bob.locator('input[type=file]').setInputFiles({ name: 'a map.html', mimeType: 'text/html', buffer: bytes })
  await alice.getByRole('button', { name: 'Accept' }).click()
  const download = alice.waitForEvent('download')
  await alice.locator('.file').getByRole('button', { name: 'Save' }).click()
  const file = await download
  expect(file.suggestedFilename()).toBe('a map.html')
  expect(readFileSync(await file.path()).equals(bytes)).toBe(true)
  await bob.getByText('They have the whole file').waitFor()
  for (const page of [alice, bob])
    expect(await page.evaluate('Promise.resolve([document.cookie, "localStorage" in globalThis ? localStorage.length : 0])')).toEqual([
      '',
      0,
    ])
  expect(await alice.evaluate('indexedDB.databases()')).toEqual([])
  expect(world.faults).toEqual([])
})

test('a newcomer with an invite writes in three steps: open the file, paste the link, write', async () => {
  const operator = identityOf(generateSeedKey())
  const card = await makeCard(operator, { name: 'Olga', relays: [ONION], time: Math.floor(Date.now() / 1_000) })
  const invite = formatInvite({ relay: ONION, key: 'A'.repeat(52), name: 'Nick', card: card.link })
  const started = performance.now()
  const page = await openPage()
  await page.getByLabel('Paste the invite or the card').fill(invite)
  await write(page, 'Hello Olga')
  await page.getByText('Held', { exact: true }).waitFor()
  figures.push(`three steps: ${Math.round(performance.now() - started)} ms until a relay had the first message`)
  expect(world.faults).toEqual([])
})

test('a relay that is killed and started again: every state shows, and the message arrives', async () => {
  const [alice, bob] = [await openPage(), await openPage()]
  await meet(alice, bob)
  await world.kill()
  await alice.getByText('Offline').waitFor()
  await write(alice, 'Are you there?')
  await alice.getByText('Waiting', { exact: true }).waitFor()
  await alice.getByText('No relay has your message yet').waitFor()
  await world.restart()
  for (const page of [alice, bob])
    await page
      .getByRole('button', { name: 'Try now' })
      .click({ timeout: 5_000 })
      .catch(() => {})
  await message(bob, 'Are you there?').waitFor()
  await alice.getByText('Connected').waitFor()
  await alice.locator('.message').last().getByText('Delivered').waitFor()
  expect(world.faults).toEqual([])
})

describe('a saved file', () => {
  test('becomes a profile of the built command, and the command’s file opens in the page; a wrong passphrase is refused', async () => {
    const alice = await openPage()
    await beginAs(alice, 'Alice')
    const link = await cardOf(alice)
    await alice.getByRole('button', { name: /^Save/ }).click()
    const passphrase = 'six random words are long enough'
    await alice.getByLabel('A passphrase for the file').fill(passphrase)
    await alice.getByLabel('The passphrase again').fill(passphrase)
    const saved = alice.waitForEvent('download')
    await alice.getByRole('button', { name: 'Save a file' }).click()
    const path = await (await saved).path()
    await alice.getByText('Your last file has everything.').waitFor()
    expect((await Account.open(readFileSync(path, 'latin1'), passphrase)).card.link).toBe(link)
    const folder = mkdtempSync(join(tmpdir(), 'asfaleia-page-'))
    closers.push(() => rmSync(folder, { recursive: true }))
    writeFileSync(join(folder, 'passphrase'), `${passphrase}\n`)
    const env = { ASFALEIA_HOME: join(folder, 'home'), ASFALEIA_PASSPHRASE_FILE: join(folder, 'passphrase') }
    expect(await run([...ASFALEIA, 'profile', 'import', path], { env })).toMatchObject({ code: 0 })
    expect((await run([...ASFALEIA, 'me'], { env })).stdout.trim()).toBe(link)
    const exported = join(folder, 'alice.profile')
    expect(await run([...ASFALEIA, 'profile', 'export', exported], { env })).toMatchObject({ code: 0 })
    await alice.getByRole('button', { name: 'Forget everything…' }).click()
    await alice.getByRole('button', { name: 'Forget everything now' }).click()
    await alice.getByText('Everything is forgotten').waitFor()

    const again = await openPage()
    await again.getByLabel('The file').setInputFiles(exported)
    await again.getByLabel('Its passphrase').fill('another passphrase')
    await again.getByRole('button', { name: 'Open' }).click()
    await again.getByText('the passphrase is wrong').waitFor()
    await again.getByLabel('Its passphrase').fill(passphrase)
    await again.getByRole('button', { name: 'Open' }).click()
    await again.getByText('Connected').waitFor()
    expect(await cardOf(again)).toBe(link)
    expect(world.faults).toEqual([])
  })

  test('closing the page with something unsaved asks first', async () => {
    const alice = await openPage()
    await beginAs(alice, 'Alice')
    const asked = new Promise<string>((resolve) => {
      alice.on('dialog', (dialog) => {
        resolve(dialog.type())
        void dialog.accept()
      })
    })
    await alice.close({ runBeforeUnload: true })
    expect(await asked).toBe('beforeunload')
  })
})

/** A person in Node, who writes to a page. */
async function startNode(name: string, page: Page) {
  const { address } = world.relay()
  const identity = identityOf(generateSeedKey())
  const card = await makeCard(identity, { name, relays: [ONION], time: 1_764_198_000 })
  const to = { ...contactOf(await parseCard(await cardOf(page))), relays: [address] }
  const messenger = openMessenger({ identity, relays: [address], contacts: { find: () => to } })
  closers.push(() => messenger.close())
  return { card, to, messenger, fingerprint: fingerprintOf(identity.key) }
}

async function addCard(page: Page, link: string, name = ''): Promise<void> {
  await page.getByRole('button', { name: 'Add a person' }).click()
  await page.getByLabel('The link of their card').fill(link)
  await page.getByLabel('Your name for them').fill(name)
  await page.getByRole('button', { name: 'Add', exact: true }).click()
}

test('hostile texts, names and files are text, and nothing of them is opened', async () => {
  const alice = await openPage()
  await beginAs(alice, 'Alice')
  const { card, to, messenger } = await startNode('<b>Bob</b>', alice)
  await addCard(alice, card.link)
  await alice.getByText('choose another name').waitFor()
  await addCard(alice, card.link, 'Mallory')
  await alice.getByRole('textbox', { name: 'Write to Mallory' }).waitFor()
  const hostile = '<img src=x onerror=alert(1)>\u202egnp.exe\u202c javascript:alert(1) <script>alert(1)</script>'
  messenger.send(to, { type: 'text', text: hostile })
  await message(alice, '<img src=x').waitFor()
  expect(await message(alice, '<img src=x').textContent()).toContain('\\u{202e}gnp.exe')
  await messenger.sendFile(to, { name: 'run me.html', size: 20, read: async () => Buffer.from('<script>1</script>!!') })
  await alice.getByRole('button', { name: 'Accept' }).click()
  const download = alice.waitForEvent('download')
  await alice.locator('.file').getByRole('button', { name: 'Save' }).click()
  await (await download).path()
  expect(await alice.locator('img, iframe, object, embed, a[href]').count()).toBe(0)
  expect(alice.url()).toMatch(/^file:.*asfaleia\.html$/)
  expect(world.faults).toEqual([])
})

test('in a browser that treats the page as insecure, it says so and begins nothing', async () => {
  const server = createServer((_request, response) => response.setHeader('content-type', 'text/html').end(readFileSync(PAGE_FILE)))
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  closers.push(() => server.close())
  const back = world.lead((server.address() as AddressInfo).port)
  closers.push(back)
  const page = await openPage({}, `http://${ONION}/`)
  await page.getByText('This browser treats the page as insecure.').waitFor()
  expect(await page.locator('form').count()).toBe(0)
  expect(await page.getByText('forged').count()).toBe(0)
})

test('1,000 messages: only some are in the document, and scrolling blocks for less than 200 ms', async () => {
  const alice = await openPage()
  await beginAs(alice, 'Alice')
  const { card, to, messenger } = await startNode('Bob', alice)
  await addCard(alice, card.link)
  await alice.getByRole('textbox', { name: 'Write to Bob' }).waitFor()
  for (let n = 1; n <= 1_000; n++)
    messenger.send(to, { type: 'text', text: `message ${n}: ${'some words to fill a line or two '.repeat(n % 7)}` })
  await message(alice, 'message 1000').waitFor({ timeout: 110_000 })
  expect(await alice.locator('.message').count()).toBeLessThan(100)
  await alice.evaluate(
    `globalThis.long = []; new PerformanceObserver((list) => long.push(...list.getEntries().map(({ duration }) => Math.round(duration)))).observe({ type: 'longtask' })`,
  )
  const log = alice.getByRole('log')
  await log.hover()
  for (let n = 0; n < 60; n++) {
    await alice.mouse.wheel(0, n < 40 ? -2_500 : 2_500)
    await alice.waitForTimeout(30)
  }
  await log.evaluate((list) => {
    ;(list as unknown as { scrollTop: number }).scrollTop = 0
  })
  await message(alice, 'message 1: ').first().waitFor()
  await alice.getByRole('button', { name: 'Newest' }).click()
  await message(alice, 'message 1000').waitFor()
  const long = await alice.evaluate<number[]>('long')
  figures.push(`long tasks while scrolling 1,000 messages: ${JSON.stringify(long)} ms`)
  expect(Math.max(0, ...long)).toBeLessThan(200)
  expect(world.faults).toEqual([])
})

/** Opens 50 messages to an SSH key, or to a one-time key with ML-KEM, as its sender wrote them. @returns ms for each */
const OPENING = `
import * as core from 'asfaleia/core'
import { formatHybridSecret, hybridKey } from './dist/auth/age-hybrid.js'
globalThis.openAll = async (isOneTime) => {
  const [from, to] = [core.identityOf(core.generateSeedKey()), core.identityOf(core.generateSeedKey())]
  const time = Math.floor(Date.now() / 1000)
  const times = []
  for (let n = 0; n < 50; n++) {
    const seed = crypto.getRandomValues(new Uint8Array(32))
    const recipient = isOneTime ? { recipient: hybridKey(seed).recipient } : {}
    const content = { type: 'text', text: 'message ' + n }
    const payload = await core.encodeMessage(from, { to: { key: to.key, ...recipient }, id: core.makeId(), time, content })
    const reader = isOneTime ? { ...to, opens: [formatHybridSecret(seed)] } : to
    const start = performance.now()
    const { verdict } = await core.openMessage(reader, payload, { now: time, seen: { has: () => false } })
    times.push(performance.now() - start)
    if (verdict !== 'genuine') throw new Error(verdict)
  }
  return times.sort((a, b) => a - b)
}
`
declare const openAll: (isOneTime: boolean) => Promise<number[]>

// Without a JIT compiler, ML-KEM takes most of the time: it makes the key of the seed, decrypts, and encrypts again.
test.each([
  { name: 'with a JIT compiler', flags: [], key: 100, oneTime: 100 },
  { name: 'without a JIT compiler', flags: ['--js-flags=--jitless'], key: 100, oneTime: 1_000 },
])('opening a message, as the median of 50, $name: at most $key ms to the SSH key, $oneTime ms to a one-time key', async (row) => {
  const pages = await startBrowser((await bundle(OPENING)).bytes, row.flags)
  closers.push(() => pages.close())
  const page = await pages.open()
  await page.waitForFunction('"openAll" in globalThis')
  for (const isOneTime of [false, true]) {
    const median = (await page.evaluate((isOneTime) => openAll(isOneTime), isOneTime))[25]!
    figures.push(`opening a message to ${isOneTime ? 'a one-time key' : 'the SSH key'} ${row.name}: ${median.toFixed(1)} ms`)
    expect(median).toBeLessThan(isOneTime ? row.oneTime : row.key)
  }
})

/** A folder for the pictures of the documents; none are made without it. */
const PICTURES = process.env['ASFALEIA_PICTURES']

test('every screen, wide and narrow, light and dark, is free of serious violations of WCAG 2.2 AA', async () => {
  const alice = await openPage({ viewport: { width: 1_100, height: 720 } })
  const bob = await openPage({ viewport: { width: 390, height: 760 }, deviceScaleFactor: 1.5 })
  const found: string[] = []
  const look = async (name: string): Promise<void> => {
    for (const [shape, page] of [
      ['wide', alice],
      ['narrow', bob],
    ] as const) {
      for (const colorScheme of ['light', 'dark'] as const) {
        await page.emulateMedia({ colorScheme, reducedMotion: 'reduce' })
        found.push(...(await violationsOf(page)).map((each) => `${name} ${shape} ${colorScheme}: ${each}`))
        if (PICTURES !== undefined) await picture(page, `${name}-${shape}-${colorScheme}`)
      }
    }
  }
  await look('start')
  await meet(alice, bob)
  await write(alice, 'Hello Bob! Good to hear from you.\nShall we compare safety words on the phone tonight?')
  await message(bob, 'Good to hear').waitFor()
  await write(bob, 'Yes, at eight. Here is the map for Sunday.')
  const buffer = Buffer.alloc(1_000_000, 7)
  await bob.locator('input[type=file]').setInputFiles({ name: 'map of the island.pdf', mimeType: 'application/pdf', buffer })
  await alice.getByRole('button', { name: 'Accept' }).waitFor()
  await look('file')
  await alice.getByRole('button', { name: 'Accept' }).click()
  await alice.locator('.file').getByRole('button', { name: 'Save' }).waitFor()
  await write(alice, 'It arrived. See you on Sunday.')
  await message(bob, 'See you on Sunday').waitFor()
  await alice.locator('.message').last().getByText('Delivered').waitFor()
  await look('conversation')
  for (const page of [alice, bob]) {
    await page.getByRole('button', { name: 'Verify' }).click()
    await page.getByRole('button', { name: 'Show the words' }).click()
    await page.locator('.words li').first().waitFor()
  }
  await look('words')
  for (const page of [alice, bob]) await page.getByRole('button', { name: 'Back to the conversation' }).click()
  await bob.getByRole('button', { name: 'Back to the list' }).click()
  await look('people')
  for (const place of ['Add a person', 'My card', /^Save/]) {
    for (const page of [alice, bob]) {
      const back = page.getByRole('button', { name: 'Back to the list' })
      if (await back.isVisible()) await back.click()
      await page.getByRole('button', { name: place }).click()
    }
    await look(typeof place === 'string' ? place.toLowerCase().replaceAll(' ', '-') : 'save')
  }
  expect(found).toEqual([])
  expect(world.faults).toEqual([])
})

async function picture(page: Page, name: string): Promise<void> {
  if (!existsSync(PICTURES!)) mkdirSync(PICTURES!, { recursive: true })
  const session = await page.context().newCDPSession(page)
  const { data } = await session.send('Page.captureScreenshot', { format: 'webp', quality: 60 })
  writeFileSync(join(PICTURES!, `${name}.webp`), Buffer.from(data, 'base64'))
  await session.detach()
}
