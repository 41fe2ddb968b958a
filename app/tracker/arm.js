// genlook.arm(): "widget", "holdout" or null (no experiment, or in no arm). See app/merchant/EXPERIMENT.md
// The same hash as app/batch/arm.py. `client()` is the visitor's id where it is kept, `now` in ms.
const armOf = (experiment, client, now) => {
  if (!experiment || now < experiment.start || (experiment.end && now >= experiment.end)) return null;
  const id = client();
  if (!id || /^[ \t\n\r\f\v\u00a0\ufeff]*"*[ \t\n\r\f\v\u00a0\ufeff]*(undefined|null|NaN|None|\[object Object\]|0{8}-0{4}-0{4}-0{4}-0{12})?[ \t\n\r\f\v\u00a0\ufeff]*"*[ \t\n\r\f\v\u00a0\ufeff]*$/.test(id)) return null;
  const text = experiment.salt + ":" + id;
  let h = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) h = Math.imul(h ^ text.charCodeAt(i), 0x01000193);
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return ((h ^ (h >>> 16)) >>> 0) * 100 < experiment.share * 4294967296 ? "holdout" : "widget";
};
