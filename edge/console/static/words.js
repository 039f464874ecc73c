// What the page says, in both languages, and how times and numbers read.

export const lang = document.documentElement.lang === "en" ? "en" : "zh";
const zh = lang === "zh";

const WORDS = {
  skip: ["跳到事件", "Skip to incidents"],
  incidents: ["事件", "Incidents"], noIncidents: ["当前没有事件", "No incidents"], together: ["相关报警", "Alarms that belong to it:"], firstOut: ["首发", "First out"],
  affects: ["影响设备", "Affects"], onsite: ["人员到场", "On site"], released: ["人员已解救", "Released"], byItself: ["自动恢复", "by itself"], addNote: ["添加备注", "Add a note"],
  print: ["打印", "Print"], timeline: ["时间线", "Timeline"], time: ["时间", "Time"], happened: ["经过", "What happened"], order: ["次序", "No"], alarm: ["报警", "Alarm"], where: ["位置", "Where"],
  raised: ["发生", "Raised"], cleared: ["恢复", "Cleared"], acked: ["确认", "Acknowledged"], level: ["级别", "Priority"], opened2: ["开始", "Opened"], closed: ["结束", "Closed"],
  causedBy: ["起因事件", "Caused by"], partOf: ["并入事件", "Part of"], printed: ["打印时间", "Printed"], signature: ["签字", "Signature"],
  chattering: ["抖动报警，不再重复推送", "Chattering, not pushed again"], fleeting: ["一闪而过，不再重复推送", "Fleeting, not pushed again"], timesAnHour: ["次/小时", "times in the last hour"],
  alarms: ["报警", "Alarms"], orders: ["工单", "Work orders"], equipment: ["设备", "Equipment"],
  connections: ["连接", "Connections"], uplinks: ["上行", "Uplinks"], connection: ["连接", "Connection"], uplink: ["上行", "Uplink"], docs: ["接口说明", "API"],
  yes: ["确定", "OK"], no: ["取消", "Cancel"],
  live: ["实时", "Live"], polling: ["轮询", "Polling"], lost: ["已断开", "Disconnected"],
  well: ["网关工作正常", "The gateway is working"], unwell: ["网关有故障", "The gateway is not well"],
  unreachable: ["连不上网关，以下内容已过时", "The gateway does not answer; what is shown below is old"],
  loading: ["正在读取…", "Loading …"], updated: ["更新于", "updated"],
  noAlarms: ["当前没有报警", "No alarms"], noOrders: ["没有待办工单", "No open work orders"], none: ["无", "None"],
  quiet: ["已搁置或抑制的报警", "Shelved and suppressed alarms"],
  todo: ["处理", "What to do"], since: ["发生于", "Raised"], ago: ["前", "ago"],
  by: ["操作人", "by"], until: ["至", "until"],
  ack: ["确认", "Acknowledge"], reset: ["复位", "Reset"], unshelve: ["取消搁置", "Unshelve"],
  accept: ["接单", "Accept"], start: ["开工", "Start"], done: ["完工", "Done"], verify: ["验收", "Verify"], cancel: ["撤销", "Cancel order"],
  due: ["期限", "Due"], overdue: ["已逾期", "Overdue"], opened: ["开单", "Opened"], cause: ["原因", "Why"],
  who: ["当班人", "On duty"], whoUnknown: ["填写姓名", "Your name"],
  askName: ["您的姓名", "Your name"], askNameWhy: ["确认和工单会记下是谁做的。", "Acknowledgements and orders note who did it."],
  askToken: ["访问令牌", "Access token"], askTokenWhy: ["站点文件 console.token 的内容。", "The console.token of the site file."],
  askNote: ["撤销原因", "Why it is cancelled"], askNoteWhy: ["会写入日志。", "Goes into the journal."],
  more: ["全部", "All"], less: ["收起", "Less"], points: ["个点", "points"],
  untrusted: ["不可信", "not trusted"], notAllGood: ["部分值不可信", "some values not trusted"], allBad: ["无可信值", "no trusted value"],
  never: ["从未读到", "never read"], withAlarm: ["台有报警", "with alarms"], withBad: ["台数据不可信", "not trusted"],
  use: ["占用率", "Use of the wire"], load: ["计划占用", "Planned"], messages: ["报文", "messages"], timeouts: ["超时", "timeouts"],
  devices: ["台设备", "devices"], device: ["设备", "Device"], troubled: ["台应答异常", "not answering well"], share: ["占用", "Use"], response: ["应答", "Answer"],
  overruns: ["跳过", "skipped"], worstAge: ["数据最旧", "oldest value"],
  badFrames: ["坏帧", "bad frames"], exceptions: ["异常应答", "exceptions"], unknown: ["未知设备", "unknown devices"],
  lag: ["滞后", "behind"], backlog: ["待发", "waiting"], rejected: ["被拒", "rejected"], rowsPerS: ["行/s", "rows/s"],
  failed: ["没有完成", "Not done"], synthetic: ["合成配置", "synthetic profile"],
};
const CLASSES = {
  elevator: ["电梯", "Elevators"], pump: ["水泵", "Pumps"], power: ["配电", "Power"], meter: ["计量", "Meters"], fire: ["消防", "Fire"],
  perimeter: ["周界", "Perimeter"], light: ["照明", "Lights"], bin: ["垃圾桶", "Bins"], environment: ["环境", "Environment"],
};
// Symbol and word: nobody has to tell colours apart.
const PRIORITIES = { critical: ["‼", "紧急", "Critical"], high: ["!", "高", "High"], medium: ["▲", "中", "Medium"], low: ["•", "低", "Low"] };
const ALARM_STATES = {
  unacknowledged: ["● 未确认", "● Not acknowledged"], acknowledged: ["◐ 已确认", "◐ Acknowledged"],
  returned: ["○ 已恢复，未确认", "○ Returned, not acknowledged"],
  latched_unacknowledged: ["◆ 已锁存，未确认", "◆ Latched, not acknowledged"], latched_acknowledged: ["◇ 已确认，待复位", "◇ Acknowledged, waits for reset"],
  shelved: ["▽ 已搁置", "▽ Shelved"], suppressed: ["▽ 已抑制", "▽ Suppressed"], out_of_service: ["▽ 停用", "▽ Out of service"],
};
const ORDER_STATES = {
  open: ["待接单", "Open"], accepted: ["已接单", "Accepted"], started: ["进行中", "Started"], done: ["待验收", "Done, to be verified"],
  verified: ["已验收", "Verified"], cancelled: ["已撤销", "Cancelled"],
};
const INCIDENT_STATES = { open: ["● 待确认", "● Not acknowledged"], acknowledged: ["◐ 已确认", "◐ Acknowledged"], closed: ["○ 已结束", "○ Closed"] };
const REASONS = {
  comm: ["通信中断", "no answer"], range: ["超出量程", "out of range"], stale: ["数据过期", "stale"], sensor: ["传感器故障", "sensor fault"], clock: ["时间不准", "clock not set"],
};
const DEVICES = { silent: ["无应答", "silent"], doubtful: ["应答不稳", "doubtful"], answering: ["应答有误", "answers with errors"], waiting: ["暂不询问", "left alone"] };
const LINKS = { up: ["● 正常", "● Up"], down: ["✕ 断开", "✕ Down"] };

const pick = (table, key) => (table[key] ? table[key][zh ? 0 : 1] : String(key ?? ""));
export const t = (key) => pick(WORDS, key);
export const className = (key) => pick(CLASSES, key);
export const classes = Object.keys(CLASSES);
export const priorities = Object.keys(PRIORITIES);
export const priority = (key) => (PRIORITIES[key] ? `${PRIORITIES[key][0]} ${PRIORITIES[key][zh ? 1 : 2]}` : String(key ?? ""));
export const alarmState = (key) => pick(ALARM_STATES, key);
export const incidentState = (key) => pick(INCIDENT_STATES, key);
const ACKABLE = new Set(["unacknowledged", "returned", "latched_unacknowledged"]);
export const ackable = (state) => ACKABLE.has(state); // somebody is asked for
export const orderState = (key) => pick(ORDER_STATES, key);
export const reason = (key) => pick(REASONS, key);
export const deviceState = (key) => pick(DEVICES, key);
export const linkState = (key) => pick(LINKS, key);

// A text in both languages, or one that has no language.
export function say(text) {
  if (text && typeof text === "object") return String(text[lang] ?? text.zh ?? text.en ?? "");
  return text == null ? "" : String(text);
}

export function span(seconds) {
  const s = Math.max(0, Math.round(seconds));
  const [n, unit] = s < 100 ? [s, 0] : s < 6000 ? [Math.round(s / 60), 1] : s < 172800 ? [Math.round(s / 3600), 2] : [Math.round(s / 86400), 3];
  return zh ? `${n}${["秒", "分", "小时", "天"][unit]}` : `${n} ${["s", "min", "h", "d"][unit]}`;
}

// Four figures are what people read; of large numbers one decimal.
export function number(value) {
  const bounds = Number.isInteger(value) || Math.abs(value) >= 1000 ? { maximumFractionDigits: 1 } : { maximumSignificantDigits: 4 };
  return value.toLocaleString(zh ? "zh-CN" : "en-GB", bounds);
}

// A reading as people read it: the name of the value where it has one, else the number and its unit.
export function shown(row) {
  if (row.value === null || row.value === undefined) return "—";
  if (row.label) return say(row.label);
  const text = typeof row.value === "number" ? number(row.value) : typeof row.value === "boolean" ? (row.value ? (zh ? "是" : "yes") : zh ? "否" : "no") : String(row.value);
  return row.unit ? `${text} ${row.unit}` : text;
}

export const clockTime = (iso, zone) => moment(iso, zone, { month: "2-digit", day: "2-digit", hour: "2-digit", minute: "2-digit" });
export const eventTime = (iso, zone) => moment(iso, zone, { hour: "2-digit", minute: "2-digit", second: "2-digit" });
// Evidence says when exactly.
export const exactTime = (iso, zone) => (iso ? moment(iso, zone, { year: "numeric", month: "2-digit", day: "2-digit", hour: "2-digit", minute: "2-digit", second: "2-digit", fractionalSecondDigits: 1 }) : "");

function moment(iso, zone, wanted) {
  const options = { ...wanted, hour12: false };
  const build = (more) => new Intl.DateTimeFormat(zh ? "zh-CN" : "en-GB", { ...options, ...more });
  try {
    return build({ timeZone: zone }).format(new Date(iso));
  } catch {
    return build({}).format(new Date(iso)); // a zone that this browser does not know
  }
}
