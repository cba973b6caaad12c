/**
 * Pages in Debian's Firefox ESR, headless, with the preferences of Tor Browser at one of its security levels, by WebDriver
 * BiDi. A SOCKS server on loopback plays the part of tor. It is not Tor Browser: NoScript, which blocks scripts at Safest, is
 * missing, and its place takes the preference that switches scripts off.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as delay } from 'node:timers/promises'
import { findProgram } from './programs.ts'

export const LEVELS = ['Standard', 'Safer', 'Safest'] as const
export type Level = (typeof LEVELS)[number]

type Preference = string | number | boolean

/** Tor Browser's preferences that matter to a page (its 001-base-profile.js and SecurityLevel). */
const TOR_BROWSER: Readonly<Record<string, Preference>> = {
  'network.proxy.type': 1,
  'network.proxy.socks': '127.0.0.1',
  'network.proxy.socks_remote_dns': true,
  'network.proxy.socks5_remote_dns': true,
  'network.proxy.no_proxies_on': '',
  'network.proxy.allow_hijacking_localhost': true,
  'network.proxy.failover_direct': false,
  'network.dns.disabled': true,
  'network.dns.blockDotOnion': false,
  'dom.securecontext.allowlist_onions': true,
  'dom.security.https_only_mode': true,
  'dom.security.https_only_mode.upgrade_onion': false,
  'browser.privatebrowsing.autostart': true,
  'privacy.resistFingerprinting': true,
  'privacy.firstparty.isolate': true,
  'media.peerconnection.enabled': false,
  'dom.serviceWorkers.enabled': false,
  'webgl.disable-extensions': true,
}

/** Of SecurityLevel, on top of the above. */
const SAFER: Readonly<Record<string, Preference>> = {
  'javascript.options.ion': false,
  'javascript.options.baselinejit': false,
  'javascript.options.native_regexp': false,
  'javascript.options.wasm': false,
  'mathml.disabled': true,
  'gfx.font_rendering.opentype_svg.enabled': false,
}
const SAFEST: Readonly<Record<string, Preference>> = {
  ...SAFER,
  'svg.disabled': true,
  // NoScript does this in Tor Browser.
  'javascript.enabled': false,
}
const OF_LEVEL: Readonly<Record<Level, Readonly<Record<string, Preference>>>> = { Standard: {}, Safer: SAFER, Safest: SAFEST }

/** Keep Firefox from visiting hosts of Mozilla at its start. */
const QUIET: Readonly<Record<string, Preference>> = {
  'app.normandy.enabled': false,
  'app.update.disabledForTesting': true,
  'browser.aboutwelcome.enabled': false,
  'browser.contentblocking.introCount': 99,
  'browser.safebrowsing.malware.enabled': false,
  'browser.safebrowsing.phishing.enabled': false,
  'browser.safebrowsing.update.enabled': false,
  'browser.search.update': false,
  'browser.shell.checkDefaultBrowser': false,
  'browser.topsites.contile.enabled': false,
  'captivedetect.canonicalURL': '',
  'datareporting.policy.dataSubmissionEnabled': false,
  'extensions.getAddons.cache.enabled': false,
  'extensions.update.enabled': false,
  'network.captive-portal-service.enabled': false,
  'network.connectivity-service.enabled': false,
  'services.settings.server': 'data:,',
  'toolkit.telemetry.enabled': false,
  'browser.download.useDownloadDir': true,
  'browser.download.folderList': 2,
  'browser.download.always_ask_before_handling_new_types': false,
  'browser.download.alwaysOpenPanel': false,
  'dom.disable_beforeunload': true,
}

/** What the tests use of a value of BiDi. */
type Remote =
  | { readonly type: 'undefined' | 'null' }
  | { readonly type: 'string'; readonly value: string }
  | { readonly type: 'number'; readonly value: number | string }
  | { readonly type: 'boolean'; readonly value: boolean }
  | { readonly type: string }

export interface Firefox {
  readonly version: string
  /** The folder of downloads. */
  readonly downloads: string
  /** Opens a tab with its own memory and cookies, in a window of its own: a tab behind another one is hidden. */
  open(url: string): Promise<Tab>
  /** Texts on the consoles of all tabs, and errors that nothing caught. */
  readonly faults: string[]
  close(): Promise<void>
}

/** @param socks the port of the SOCKS server, through which Firefox reaches everything */
export async function startFirefox(level: Level, socks: number): Promise<Firefox> {
  const folder = mkdtempSync(join(tmpdir(), 'asfaleia-firefox-'))
  const downloads = join(folder, 'downloads')
  const preferences = {
    ...QUIET,
    ...TOR_BROWSER,
    ...OF_LEVEL[level],
    'network.proxy.socks_port': socks,
    'browser.download.dir': downloads,
  }
  const lines = Object.entries(preferences).map(([name, value]) => `user_pref(${JSON.stringify(name)}, ${JSON.stringify(value)});\n`)
  writeFileSync(join(folder, 'user.js'), lines.join(''))
  const firefox = spawn(
    findProgram('firefox-esr')!,
    ['--headless', '--no-remote', '--profile', folder, '--remote-debugging-port', '0', 'about:blank'],
    {
      stdio: ['ignore', 'ignore', 'pipe'],
      env: { ...process.env, HOME: folder, MOZ_CRASHREPORTER_DISABLE: '1', MOZ_DISABLE_AUTO_SAFE_MODE: '1' },
    },
  )
  const port = await new Promise<string>((resolve, reject) => {
    createInterface(firefox.stderr).on('line', (line) => {
      const [, found] = /^WebDriver BiDi listening on ws:\/\/(?:127\.0\.0\.1|localhost)(:\d+)/.exec(line) ?? []
      if (found !== undefined) resolve(found)
    })
    firefox.on('exit', () => reject(new Error('Firefox ended at its start')))
  })
  const session = await openSession(`ws://127.0.0.1${port}/session`)
  const { capabilities } = (await session.send('session.new', { capabilities: {} })) as { capabilities: { browserVersion: string } }
  const faults: string[] = []
  session.onEvent('log.entryAdded', (event) => {
    const { level, text } = event as { level: string; text: string | null }
    if (level === 'error' || level === 'warn') faults.push(text ?? '')
  })
  await session.send('session.subscribe', { events: ['log.entryAdded'] })
  return {
    version: capabilities.browserVersion,
    downloads,
    faults,
    async open(url) {
      const { userContext } = (await session.send('browser.createUserContext', {})) as { userContext: string }
      const { context } = (await session.send('browsingContext.create', { type: 'window', userContext })) as { context: string }
      const tab = new Tab(session, context)
      await tab.navigate(url)
      return tab
    },
    async close() {
      session.close()
      firefox.kill('SIGTERM')
      if (firefox.exitCode === null) await once(firefox, 'exit')
      // Processes of Firefox may write to its folder for a moment.
      rmSync(folder, { recursive: true, maxRetries: 20, retryDelay: 100 })
    },
  }
}

interface Session {
  send(method: string, params: object): Promise<unknown>
  onEvent(method: string, listener: (params: unknown) => void): void
  close(): void
}

async function openSession(url: string): Promise<Session> {
  const socket = new WebSocket(url)
  await once(socket, 'open')
  let next = 1
  const pending = new Map<number, { resolve(result: unknown): void; reject(error: Error): void }>()
  const listeners = new Map<string, (params: unknown) => void>()
  socket.addEventListener('message', ({ data }) => {
    const message = JSON.parse(String(data)) as {
      id?: number
      method?: string
      params?: unknown
      result?: unknown
      error?: string
      message?: string
    }
    if (message.method !== undefined) return listeners.get(message.method)?.(message.params)
    const waiting = pending.get(message.id!)
    pending.delete(message.id!)
    if (message.error === undefined) waiting?.resolve(message.result)
    else waiting?.reject(new Error(`${message.error}: ${message.message}`))
  })
  return {
    send(method, params) {
      const { promise, resolve, reject } = Promise.withResolvers<unknown>()
      const id = next++
      pending.set(id, { resolve, reject })
      socket.send(JSON.stringify({ id, method, params }))
      return promise
    },
    onEvent: (method, listener) => void listeners.set(method, listener),
    close: () => socket.close(),
  }
}

/** How long a tab waits for a node or a text. Without a JIT, some operations take seconds. */
const PATIENCE_MS = 30_000
const PAUSE_MS = 100

interface Node {
  readonly sharedId: string
}

/** One tab. Its nodes are found as a screen reader finds them: by role and name. */
export class Tab {
  readonly #session: Session
  readonly #context: string

  constructor(session: Session, context: string) {
    this.#session = session
    this.#context = context
  }

  async navigate(url: string, wait: 'complete' | 'none' = 'complete'): Promise<void> {
    await this.#session.send('browsingContext.navigate', { context: this.#context, url, wait })
  }

  /** Evaluates an expression in the page: of a text, a number or a truth value, or a promise of one. */
  evaluate<T extends Preference | undefined>(expression: string): Promise<T> {
    return this.#call(`async () => (${expression})`, []) as Promise<T>
  }

  /** Returns the text that the page shows. */
  text(): Promise<string> {
    return this.#call('() => document.body.innerText', []) as Promise<string>
  }

  /** Waits until the page shows a text. */
  async waitFor(what: string | RegExp): Promise<void> {
    const pattern = typeof what === 'string' ? undefined : what
    const shows = (text: string): boolean => (pattern === undefined ? text.includes(what as string) : pattern.test(text))
    await this.#until(async () => shows(await this.text()), `the page does not show ${String(what)}`)
  }

  /** Clicks the node of this role and name. */
  async click(role: string, name: string): Promise<void> {
    await this.#call('(node) => node.click()', [await this.#find(role, name)])
  }

  /** Clicks the first node of a selector whose text contains this. */
  async clickText(selector: string, text: string): Promise<void> {
    await this.#until(
      async () =>
        (await this.#call(
          '(selector, text) => { const node = [...document.querySelectorAll(selector)].find((each) => each.textContent.includes(text)); node?.click(); return node !== undefined }',
          [selector, text],
        )) === true,
      `the page has no ${selector} with the text ${text}`,
    )
  }

  /** Waits until a selector finds a node. */
  async waitForNode(selector: string): Promise<void> {
    await this.#until(
      async () => (await this.#call('(selector) => document.querySelector(selector) !== null', [selector])) === true,
      `the page has no ${selector}`,
    )
  }

  /** Writes into the field of this name, as the user does. */
  async fill(name: string, text: string): Promise<void> {
    const node = await this.#find('textbox', name)
    await this.#call("(node, text) => { node.focus(); node.value = text; node.dispatchEvent(new Event('input', { bubbles: true })) }", [
      node,
      text,
    ])
  }

  /** Returns the content of the field of this name. */
  async valueOf(name: string): Promise<string> {
    return (await this.#call('(node) => node.value', [await this.#find('textbox', name)])) as string
  }

  /** Types into the focused node by the keyboard. */
  async type(keys: string): Promise<void> {
    const actions = [...keys].flatMap((value) => [
      { type: 'keyDown', value },
      { type: 'keyUp', value },
    ])
    await this.#session.send('input.performActions', { context: this.#context, actions: [{ type: 'key', id: 'keyboard', actions }] })
  }

  /** Chooses files in the first input for files that the selector finds. */
  async choose(selector: string, files: readonly string[]): Promise<void> {
    const [element] = await this.#locate({ type: 'css', value: selector })
    if (element === undefined) throw new Error(`no input ${selector}`)
    await this.#session.send('input.setFiles', { context: this.#context, element, files })
  }

  /** Returns whether an XPath expression finds a node, also in a page that runs no scripts. */
  async has(xpath: string): Promise<boolean> {
    return (await this.#locate({ type: 'xpath', value: xpath })).length > 0
  }

  /** Returns a picture of the page: PNG. */
  async screenshot(): Promise<Buffer> {
    const { data } = (await this.#session.send('browsingContext.captureScreenshot', { context: this.#context })) as { data: string }
    return Buffer.from(data, 'base64')
  }

  async close(): Promise<void> {
    await this.#session.send('browsingContext.close', { context: this.#context })
  }

  async #find(role: string, name: string): Promise<Node> {
    let found: Node | undefined
    await this.#until(async () => {
      ;[found] = await this.#locate({ type: 'accessibility', value: { role, name } })
      return found !== undefined
    }, `the page has no ${role} "${name}"`)
    return found!
  }

  async #locate(locator: object): Promise<readonly Node[]> {
    const { nodes } = (await this.#session.send('browsingContext.locateNodes', { context: this.#context, locator })) as {
      nodes: readonly Node[]
    }
    return nodes
  }

  async #until(check: () => Promise<boolean>, failure: string): Promise<void> {
    for (const end = Date.now() + PATIENCE_MS; !(await check()); await delay(PAUSE_MS)) {
      if (Date.now() > end) throw new Error(`${failure}; it shows: ${(await this.text()).slice(0, 2_000)}`)
    }
  }

  async #call(functionDeclaration: string, given: readonly (Node | string)[]): Promise<Preference | undefined> {
    const { type, result, exceptionDetails } = (await this.#session.send('script.callFunction', {
      functionDeclaration,
      awaitPromise: true,
      target: { context: this.#context },
      arguments: given.map((value) => (typeof value === 'string' ? { type: 'string', value } : value)),
    })) as { type: string; result?: Remote; exceptionDetails?: { text: string } }
    if (type !== 'success') throw new Error(exceptionDetails?.text ?? 'the page threw')
    return result !== undefined && 'value' in result ? (result.value as Preference) : undefined
  }
}
